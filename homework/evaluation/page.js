// Draws the report from the page's two JSON blocks.
const report = read("data");
const pictures = read("pictures");
const { samples, views, heat } = report;
const before = report.against || null;
const KINDS = report.kinds.map((row) => row.label);
const questions = (number) => plural(number, "question");
const interval = (row) => `${percent(row.low, 0)} to ${percent(row.high, 0)}, ${questions(row.total)}`;
// Runs often have the same name: date and hash tell them apart.
const named = (run) =>
  `${run.checkpoint} (${run.date ? `measured ${run.date.slice(0, 16)}, ` : ""}adapter ${run.adapter_sha256.slice(0, 12)})`;

function drawAccuracy() {
  byId("title").textContent = `What ${report.checkpoint} sees`;
  byId("subtitle").textContent =
    `${count(samples.length)} questions about ${report.split}; trained on ${report.train_split}, ` +
    `from ${report.base}` + (report.date ? `; measured ${report.date.slice(0, 16)}` : "");
  byId("accuracy-note").textContent =
    "Bar: share of right answers, with its 95% interval (Wilson). Dashed tick: accuracy of always giving " +
    `the most common answer of ${report.majority_source}.`;
  for (const row of report.kinds) byId("accuracy").append(shareRow(row, row.majority, interval(row)));
  byId("footer").textContent = [
    named(report),
    ...Object.entries(report.versions).map((entry) => entry.join(" ")),
  ].join(" · ");
}

function drawChanges() {
  if (!before) return;
  byId("changes").hidden = false;
  byId("changes-note").textContent =
    `Before: ${named(before)}. Now: ${named(report)}. By chance: how often two equally good models would ` +
    "differ at least this much (McNemar's exact test)." +
    (before.only_now || before.only_before
      ? ` Left out: ${count(before.only_now)} asked only now, ${count(before.only_before)} only before.`
      : "");
  const head = ["kind", "before", "now", "fixed", "broken", "by chance"];
  const rows = before.kinds.map((row) => [
    row.label,
    percent(row.before / row.total),
    percent(row.now / row.total),
    count(row.fixed),
    count(row.broken),
    row.p < 0.001 ? "under 0.1%" : percent(row.p),
  ]);
  byId("changes-table").append(table(head, rows));
}

const BREAKDOWNS = {
  size: ["Size of the kart asked about", "shorter side of its box, in pixels of the 150×100 picture"],
  karts: ["Karts in the view", "only those large enough to count"],
  seen: ["Kart on this track in training", "whether the training split shows the kart asked about on this track"],
};

function drawWhere(kind) {
  choices("where-kinds", KINDS, kind, (name) => {
    drawWhere(name);
    byId("where-kinds").children[KINDS.indexOf(name)].focus();
  });
  const cards = Object.entries(BREAKDOWNS).map(([name, [title, note]]) => {
    const rows = (report.breakdowns[name] || {})[kind] || [];
    return make(
      "div",
      { class: "card" },
      make("h3", {}, title),
      make("p", { class: "note" }, note),
      ...(rows.length ? rows.map((row) => shareRow(row, null, interval(row))) : [make("p", { class: "soft" }, missing(name, kind))]),
    );
  });
  const calibration = report.calibration[kind];
  if (calibration) {
    cards.push(
      make(
        "div",
        { class: "card" },
        make("h3", {}, "How sure it is"),
        make("p", { class: "note" }, `accuracy by the probability of the answer (dashed tick: mean probability); the two differ by ${percent(calibration.error)} on average`),
        ...calibration.bins.map((row) => shareRow({ ...row, label: `from ${row.label}` }, row.probability, interval(row))),
      ),
    );
  }
  byId("where").replaceChildren(...cards);
}

function missing(name, kind) {
  if (name === "seen" && !report.seen_known) return `not known: the ${report.train_split} split's info files are not here`;
  return name === "karts" ? "not known: no info files beside the pictures" : `a question of kind "${kind}" is not about one kart`;
}

// --- confusions ---

function drawMatrix(kind, focus) {
  const names = Object.keys(report.confusions);
  choices("confusion-kinds", names, kind, (name) => {
    drawMatrix(name);
    byId("confusion-kinds").children[names.indexOf(name)].focus();
  });
  const { labels, counts } = report.confusions[kind];
  const matrix = byId("matrix");
  const width = Math.min(9, Math.max(2, ...labels.map((label) => label.length * 0.5)));
  matrix.style.gridTemplateColumns = `min(${width}rem, 22vw) repeat(${labels.length}, minmax(0, 2.5rem))`;
  const parts = [make("span", {}), ...labels.map((label) => make("span", { class: "column", title: label }, label))];
  const cells = [];
  labels.forEach((truth, row) => {
    const total = counts[row].reduce((sum, number) => sum + number, 0);
    parts.push(make("span", { class: "name", title: truth }, truth));
    labels.forEach((answer, column) => {
      const number = counts[row][column];
      const text = `truth ${truth}, answered ${answer}: ${number} of ${total}`;
      const cell = make(
        "button",
        {
          type: "button", role: "gridcell", tabindex: "-1", "aria-label": text, title: text,
          class: row === column ? "diagonal" : null,
          onclick: () => { go({ kind, truth, answer, page: null, result: null }); byId("samples").scrollIntoView(); },
          onfocus: () => { byId("cell").textContent = text; },
          onmouseenter: () => { byId("cell").textContent = text; },
        },
        number ? String(number) : "",
      );
      if (number) {
        const share = number / total;
        const color = row === column ? "var(--right)" : "var(--wrong)";
        cell.style.background = `color-mix(in srgb, ${color} ${Math.round(15 + 75 * share)}%, var(--card))`;
        if (share > 0.45) cell.style.color = "var(--card)";
      }
      cells.push(cell);
      parts.push(cell);
    });
  });
  matrix.replaceChildren(...parts);
  byId("cell").textContent = "\u00a0";
  if (!cells.length) return;
  cells[0].tabIndex = 0;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: labels.length, ArrowUp: -labels.length };
  matrix.onkeydown = (event) => {
    const here = cells.indexOf(document.activeElement);
    const there = cells[here + steps[event.key]];
    if (here < 0 || !there) return;
    event.preventDefault();
    cells[here].tabIndex = -1;
    there.tabIndex = 0;
    there.focus();
  };
}

// --- samples ---

const shows = (sample) => views[sample.image_file] || { track: null, karts: [], ego: null };

const CHANGES = { fixed: "wrong before, right now", broken: "right before, wrong now", other: "another answer" };
const FILTERS = {
  kind: { title: "Kind", options: KINDS.filter((kind) => kind !== "all"), fits: (s, value) => s.kind === value },
  result: { title: "Result", options: ["wrong", "right"], fits: (s, value) => s.right === (value === "right") },
  track: { title: "Track", options: names(samples.map((s) => shows(s).track)), fits: (s, value) => shows(s).track === value },
  kart: { title: "Kart in the view", options: names(samples.flatMap((s) => shows(s).karts.map((k) => k[0]))), fits: (s, value) => shows(s).karts.some((k) => k[0] === value) },
  seen: { title: "Seen in training", options: report.seen_known ? ["seen", "unseen"] : [], fits: (s, value) => s.seen === (value === "seen") },
  changed: { title: "Changed", options: before ? Object.keys(CHANGES) : [], texts: Object.values(CHANGES), fits: (s, value) => changeOf(s) === value },
  truth: { title: "truth", fits: (s, value) => s.truth === value },
  answer: { title: "answered", fits: (s, value) => s.answer === value },
};
const SORTS = {
  "as asked": null,
  "surest first": (s) => -(s.probability ?? -1),
  "least sure first": (s) => s.probability ?? 2,
  "smallest kart first": (s) => s.size ?? 1000,
};

function changeOf(sample) {
  const old = sample.before;
  if (!old) return null;
  if (sample.right !== old.right) return sample.right ? "fixed" : "broken";
  return sample.answer === old.answer ? "same" : "other";
}

function says(found) {
  if (!found.length) return "no question fits: remove a filter";
  const right = found.filter((index) => samples[index].right).length;
  const share =
    right === found.length ? "all right" : right ? `${percent(right / found.length)} right` : "all wrong";
  return `${count(found.length)} of ${questions(samples.length)}: ${share}`;
}

function picture(sample, index, { boxes, looks, labels }) {
  const source = pictures[sample.image_file];
  const grid = looks && heat.grids[index];
  const layers = [source && `data:image/webp;base64,${source}`, grid && heatPicture(grid)];
  return frame(sample.image_file, layers, boxes && shows(sample), { asked: sample.kart, labels });
}

const said = (sample) => make("div", { class: `said ${sample.right ? "right" : "wrong"}` }, sample.answer || "(nothing)");

function card(sample, index, chosen) {
  return [
    picture(sample, index, { boxes: true, looks: chosen.get("heat") === "1" }),
    make("div", { class: "text" },
      make("div", { class: "question" }, sample.question),
      said(sample),
      make("div", { class: "truth" },
        [sample.right ? null : `truth: ${sample.truth}`, sample.probability == null ? null : `probability\u00a0${percent(sample.probability, 0)}`]
          .filter(Boolean).join(" · ") || "\u00a0"),
    ),
  ];
}

// A grid holds one byte per cell, row by row. Enlarged smoothly, it lights up orange where it is
// hot and leaves the picture as it is elsewhere, as heat_map.overlay does.
function heatPicture(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const side = Math.sqrt(bytes.length);
  const small = make("canvas", { width: side, height: side });
  const image = new ImageData(side, side);
  bytes.forEach((value, i) => image.data.set([255, 140, 0, 0.65 * value], 4 * i));
  small.getContext("2d").putImageData(image, 0, 0);
  const large = make("canvas", { width: 150, height: 100 });
  const context = large.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 150, 100);
  return large.toDataURL();
}

const TOGGLES = {
  boxes: { title: "Boxes", key: "b", on: true },
  looks: { title: "Where it looks", key: "h", on: state().get("heat") === "1", has: (_, index) => heat.grids[index] },
};

function detail(sample, index, shown) {
  const view = shows(sample);
  return [
    picture(sample, index, { ...shown, labels: true }),
    make("h3", { id: "detail-question", class: "question" }, sample.question),
    said(sample),
    sample.right ? null : make("div", { class: "truth" }, `truth: ${sample.truth}`),
    probabilities(sample),
    facts([
      ["Frame", sample.image_file],
      ["Track", view.track],
      ["Karts", view.karts.map(([name], i) => name + (i === view.ego ? " (ego)" : "")).join(", ")],
      ["Size of the kart", sample.size == null ? null : `${sample.size} pixels`],
      ["In training", sample.seen == null ? null : sample.seen ? "this kart was seen on this track" : "this kart was never seen on this track"],
      ["Before", sample.before ? `${sample.before.answer || "(nothing)"} (${sample.before.right ? "right" : "wrong"})` : null],
    ]),
  ];
}

function probabilities(sample) {
  if (!sample.scores.length) return null;
  const rows = sample.scores.flatMap(([answer, value]) => [
    make("span", {}, answer + (answer === sample.truth ? " (truth)" : "")), bar(value), make("span", { class: "value" }, percent(value)),
  ]);
  return make("div", { class: "probabilities" }, ...rows);
}

// --- the whole page ---

drawAccuracy();
drawChanges();
drawWhere("all");
if (Object.keys(report.confusions).length) drawMatrix(Object.keys(report.confusions)[0]);
byId("samples-note").append(
  make("span", { class: "key ego" }), "ego kart", make("span", { class: "key asked" }), "kart asked about",
  make("span", { class: "key other" }), `other karts. ${report.probability_note}`,
);
byId("heat").hidden = !Object.keys(heat.grids).length;
byId("heat").addEventListener("click", () => go({ heat: state().get("heat") === "1" ? null : "1" }));
const words = (s) => [s.question, s.answer, s.truth, s.image_file, shows(s).track, ...shows(s).karts.map((k) => k[0])].join(" ");
const shown = gallery({ items: samples, filters: FILTERS, sorts: SORTS, words, says, card, detail, toggles: TOGGLES });
start((chosen) => {
  byId("heat").setAttribute("aria-pressed", String(chosen.get("heat") === "1"));
  shown.draw(chosen);
});
