// Draws the report from the page's JSON blocks.
const report = read("data");
const pictures = read("pictures");
const heat = read("heat-maps");
const { samples, views, others } = report;
const KINDS = report.kinds.map((row) => row.label);
const questions = (number) => plural(number, "question");
const interval = (row) => `${percent(row.low, 0)} to ${percent(row.high, 0)}, ${questions(row.total)}`;
// Runs often have the same name: the date tells them apart, and a number those of one minute.
const nameAndDate = (run) => [run.checkpoint, run.date.slice(0, 16)].filter(Boolean).join(", ");
const runs = others.map(nameAndDate).map((name, place, all) => {
  const same = all.slice(0, place).filter((other) => other === name).length;
  return same ? `${name} (${same + 1})` : name;
});
const ofKind = (kind) => (kind === "all" ? null : kind);

// --- accuracy ---

function drawAccuracy() {
  byId("title").textContent = `What ${report.checkpoint} sees`;
  byId("subtitle").textContent = [
    `${questions(samples.length)} about ${report.split}`,
    report.base && `${report.train_split ? `trained on ${report.train_split}` : "training not known"}, from ${report.base}`,
    `measured ${report.date.slice(0, 16)}`,
  ].filter(Boolean).join("; ");
  byId("accuracy-note").textContent =
    "Bar: share of right answers, with its 95% interval (Wilson). Dashed tick, and majority: always giving " +
    `the most common answer of ${report.majority_source}.`;
  byId("accuracy").append(
    ...report.kinds.map((row) => shareRow(row, row.majority, interval(row), () => only({ kind: ofKind(row.label) }))),
  );
  const inOther = (other, kind) => {
    const row = other.kinds.find(({ label }) => label === kind);
    return row ? percent(row.before / row.total) : "–";
  };
  byId("runs").append(
    table(
      ["kind", "majority", ...runs, `this run, ${report.date.slice(0, 16)}`],
      report.kinds.map((row) => [
        row.label,
        row.majority == null ? "–" : percent(row.majority),
        ...others.map((other) => inOther(other, row.label)),
        make("strong", {}, percent(row.accuracy)),
      ]),
    ),
  );
  byId("footer").textContent = [
    nameAndDate(report),
    report.adapter_sha256 && `adapter ${report.adapter_sha256.slice(0, 12)}`,
    ...Object.entries(report.versions || {}).map((entry) => entry.join(" ")),
  ].filter(Boolean).join(" · ");
}

// --- other runs ---

function drawChanges() {
  byId("changes").hidden = !others.length;
  byId("changes-note").textContent =
    "Fixed: wrong in the other run, right in this one; broken: the reverse. By chance: how often two equally good models " +
    "would differ at least this much (McNemar's exact test).";
  byId("changes-tables").append(...others.map((other, place) => {
    const apart = [[other.only_now, "this run"], [other.only_before, "the other"]].filter(([number]) => number);
    const link = (row, change, number) =>
      number ? make("button", { type: "button", class: "plain", onclick: () => only({ kind: ofKind(row.label), changed: `${change} ${place}` }) }, count(number)) : "0";
    return make("div", { class: "card wide-table", tabindex: "0", role: "region", "aria-label": runs[place] },
      make("h3", {}, runs[place]),
      ...apart.map(([number, run]) => make("p", { class: "note" }, `left out: ${questions(number)} that only ${run} was asked`)),
      table(
        ["kind", "other", "this", "fixed", "broken", "by chance"],
        other.kinds.map((row) => [
          row.label,
          percent(row.before / row.total),
          percent(row.now / row.total),
          link(row, "fixed", row.fixed),
          link(row, "broken", row.broken),
          row.p < 0.001 ? "under 0.1%" : percent(row.p),
        ]),
      ),
    );
  }));
}

// --- accuracy by class ---

const CLASSES = {
  size: ["Size of the kart asked about", "shorter side of its box, in pixels of the 150×100 picture", "Size of the kart"],
  karts: ["Karts in the view", "only those large enough to count", "Number of karts"],
  seen: ["Kart on this track in training", "whether the training split shows the kart asked about on this track", "Seen in training"],
  confidence: ["How sure it is", "accuracy by the probability of the answer", "Probability"],
};

function drawWhere(kind) {
  choices("where-kinds", KINDS, kind, (name) => {
    drawWhere(name);
    byId("where-kinds").children[KINDS.indexOf(name)].focus();
  });
  byId("where").replaceChildren(
    ...Object.entries(CLASSES).filter(([name]) => name !== "confidence" || report.calibration.all != null).map(([name, [title, note]]) => {
      const rows = report.breakdowns[name][kind] || [];
      const error = name === "confidence" && kind in report.calibration
        ? ` (dashed tick: mean probability); the two differ by ${percent(report.calibration[kind])} on average` : "";
      return make("div", { class: "card" }, make("h3", {}, title), make("p", { class: "note" }, note + error),
        ...rows.map((row) => shareRow(row, row.probability, interval(row), () => only({ kind: ofKind(kind), [name]: row.label }))),
        rows.length ? null : make("p", { class: "soft" }, missing(name, kind)),
      );
    }),
  );
}

function missing(name, kind) {
  if (name === "confidence") return "not known: no probabilities";
  if (name === "seen" && !report.train_split) return "not known: what it was trained on is not recorded";
  if (name === "seen" && !report.seen_known) return `not known: the ${report.train_split} split's info files are not here`;
  return name === "karts" ? "not known: no info files beside the pictures" : `a question of kind "${kind}" is not about one kart`;
}

// --- confusions ---

function drawMatrix(kind) {
  const names = Object.keys(report.confusions);
  choices("confusion-kinds", names, kind, (name) => {
    drawMatrix(name);
    byId("confusion-kinds").children[names.indexOf(name)].focus();
  });
  const { labels, counts } = report.confusions[kind];
  byId("cell").textContent = "\u00a0";
  matrix("matrix", labels, labels, (truth, answer) => {
    const row = counts[labels.indexOf(truth)];
    const number = row[labels.indexOf(answer)];
    const total = row.reduce((sum, number) => sum + number, 0);
    return {
      number, share: number / total, text: `truth ${truth}, answered ${answer}: ${number} of ${total}`,
      choose: () => only({ kind, truth, answer }),
      color: truth === answer ? "var(--right)" : "var(--wrong)", mark: truth === answer ? "diagonal" : null,
    };
  });
}

// --- samples ---

const shows = (sample) => views[sample.image_file] || { track: null, karts: [], ego: null };
const kartsOf = (sample) => shows(sample).karts.map(([name]) => name);
const result = (sample) => (sample.right ? "right" : "wrong");
const ofFrame = {}; // the samples of each frame
samples.forEach((sample, index) => (ofFrame[sample.image_file] ??= []).push(index));

// The changes against each of the other runs, as "fixed 0": the place of the run follows.
const CHANGES = { fixed: "wrong in", broken: "right in", other: "answered otherwise in" };

function changeOf(sample, place) {
  const other = sample.others[place];
  if (!other || sample.answer === other.answer) return null;
  if (sample.right === other.right) return "other";
  return sample.right ? "fixed" : "broken";
}

// The answer's column in the matrix of its kind: see `confusion` in statistics.py.
function takenAs(sample) {
  if (sample.right) return sample.truth;
  const known = report.confusions[sample.kind]?.labels.includes(sample.answer);
  return known ? sample.answer : "another answer";
}

const changes = runs.flatMap((run, place) =>
  Object.entries(CHANGES).map(([change, words]) => [`${change} ${place}`, `${words} ${run}${change === "other" ? "" : `, ${change === "fixed" ? "right" : "wrong"} here`}`]),
);
const FILTERS = {
  result: { title: "Result", options: ["wrong", "right"], fits: (s, value) => result(s) === value },
  kind: { title: "Kind", options: KINDS.filter(ofKind), fits: (s, value) => s.kind === value },
  track: { title: "Track", options: names(samples.map((s) => shows(s).track)), fits: (s, value) => shows(s).track === value },
  kart: { title: "Kart in the view", options: names(samples.flatMap(kartsOf)), fits: (s, value) => kartsOf(s).includes(value) },
  changed: {
    title: "Against other runs",
    options: changes.map(([value]) => value),
    texts: changes.map(([, text]) => text),
    fits: (s, value) => changeOf(s, value.split(" ")[1]) === value.split(" ")[0],
  },
  truth: { title: "truth", fits: (s, value) => s.truth === value },
  answer: { title: "answered", fits: (s, value) => takenAs(s) === value },
};
for (const [name, [, , title]] of Object.entries(CLASSES)) {
  const options = (report.breakdowns[name].all || []).map((row) => row.label);
  FILTERS[name] = { title, options, fits: (s, value) => s.classes[name] === value };
}

const doubt = (s) => s.probability ?? 2; // those without a probability last
const SORTS = {
  "mistakes first": (s) => (s.right ? 10 : 0) - (s.probability ?? 0),
  "as asked": null,
  "surest first": (s) => -(s.probability ?? -1),
  "least sure first": doubt,
  "smallest kart first": (s) => s.size ?? 1000,
};

// How many of which questions are shown.
function says(found, chosen, matching) {
  if (!found.length) return "No question fits: remove a filter.";
  const kind = chosen.has("kind") ? ` of kind ${chosen.get("kind")}` : "";
  const rest = ["search", ...Object.keys(FILTERS)].some((name) => chosen.has(name) && name !== "kind" && name !== "result");
  const which = `${kind}${rest ? " with the other filters" : ""}`;
  if (chosen.has("result")) {
    const all = new URLSearchParams(chosen);
    all.delete("result");
    return `Answered ${chosen.get("result")}: ${count(found.length)} of ${questions(matching(all).length)}${which}`;
  }
  const right = found.filter((index) => samples[index].right).length;
  return `${questions(found.length)}${which}: ${count(right)} right (${percent(right / found.length)}), ${count(found.length - right)} wrong`;
}

function picture(sample, index, { boxes, looks, labels }) {
  const source = pictures[sample.image_file];
  const grid = looks && heat[index];
  const layers = [source && `data:image/webp;base64,${source}`, grid && heatPicture(grid)];
  return frame(sample.image_file, layers, boxes && shows(sample), { asked: sample.kart, labels });
}

const said = (answer, right) => make("span", { class: `said ${right ? "right" : "wrong"}` }, answer || "(nothing)");

function card(sample, index, chosen) {
  return [
    picture(sample, index, { boxes: true, looks: chosen.get("heat") === "1" }),
    make("div", { class: "text" },
      make("div", { class: "question" }, sample.question),
      said(sample.answer, sample.right),
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
  looks: { title: "Where it looks", key: "h", on: state().get("heat") === "1", has: (_, index) => heat[index] },
};

function detail(sample, index, shown) {
  const view = shows(sample);
  return [
    picture(sample, index, { ...shown, labels: true }),
    make("h3", { id: "detail-question", class: "question" }, sample.question),
    said(sample.answer, sample.right),
    sample.right ? null : make("div", { class: "truth" }, `truth: ${sample.truth}`),
    probabilities(sample),
    facts([
      ["Frame", sample.image_file],
      ["Track", view.track],
      ["Karts", view.karts.map(([name], i) => name + (i === view.ego ? " (ego)" : "")).join(", ")],
      ["Size of the kart", sample.size == null ? null : `${sample.size} pixels`],
      ["In training", sample.seen == null ? null : sample.seen ? "this kart was seen on this track" : "this kart was never seen on this track"],
      ...runs.map((run, place) => [run, sample.others[place] && said(sample.others[place].answer, sample.others[place].right)]),
    ]),
    sameFrame(sample, index),
    report.ask ? make("h4", {}, "Ask it again") : null,
    report.ask ? make("code", { class: "command" }, askAgain(sample)) : null,
  ];
}

function probabilities(sample) {
  if (!sample.scores.length) return null;
  const rows = sample.scores.flatMap(([answer, value]) => [
    make("span", {}, answer + (answer === sample.truth ? " (truth)" : "")), bar(value), make("span", { class: "value" }, percent(value)),
  ]);
  return make("div", { class: "probabilities" }, ...rows);
}

function sameFrame(sample, index) {
  const rest = ofFrame[sample.image_file].filter((other) => other !== index);
  if (!rest.length) return null;
  const line = (other) => {
    const { question, answer, right, truth } = samples[other];
    return make("li", {}, make("a", { href: `#${changed({ sample: other })}` }, question), " ", said(answer, right), right ? null : ` (truth: ${truth})`);
  };
  return make("div", {}, make("h4", {}, "Other questions about this frame"), make("ul", {}, ...rest.map(line)));
}

function askAgain(sample) {
  const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const image = quoted(`${report.ask.data_dir}/${sample.image_file}`);
  return `python -m homework.base_vlm ask --checkpoint ${quoted(report.ask.checkpoint)} --image ${image} --question ${quoted(sample.question)}`;
}

function asCsv(found) {
  const head = ["image_file", "question", "kind", "truth", "answer", "right", "probability", "track", "karts", "size of the kart", "seen in training"];
  const rows = found.map((s) => [
    s.image_file, s.question, s.kind, s.truth, s.answer, s.right, s.probability, shows(s).track, kartsOf(s).join(" "), s.size, s.seen,
    ...s.others.map((other) => other && other.answer),
  ]);
  return [[...head, ...runs], ...rows];
}

// --- training ---

function drawTraining() {
  const charts = Object.entries(report.curves || {}).filter(([, lines]) => Object.keys(lines).length);
  const recipe = Object.entries(report.recipe || {});
  byId("training").hidden = !charts.length && !recipe.length;
  byId("charts").append(...charts.map(([title, lines]) => make("div", { class: "card" }, make("h3", {}, title), chart(title, lines))));
  byId("recipe").append(facts(recipe.map(([name, value]) => [name, typeof value === "number" ? String(+value.toPrecision(4)) : String(value ?? "not set")])));
}

// Lines over the steps of a training; lines: name -> [[step, value], ...].
function chart(title, lines) {
  const [width, height, left, bottom] = [440, 200, 44, 20];
  const points = Object.values(lines).flat();
  const last = Math.max(...points.map(([step]) => step));
  const most = Math.max(...points.map(([, value]) => value));
  const top = most <= 1 ? 1 : most; // accuracy from 0 to 1
  const x = (step) => left + (step / (last || 1)) * (width - left - 6);
  const y = (value) => height - bottom - (value / (top || 1)) * (height - bottom - 8);
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over the steps of the training` });
  const label = (text, x, y, anchor) => picture.append(svg("text", { x, y, "text-anchor": anchor }, text));
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const value = part * top;
    picture.append(svg("path", { class: "grid", d: `M${left} ${y(value)}H${width - 6}` }));
    label(most <= 1 ? percent(value, 0) : value.toPrecision(2), left - 6, y(value) + 4, "end");
  }
  label(`step ${count(last)}`, width - 6, height - 4, "end");
  const names = Object.keys(lines);
  names.forEach((name, i) => {
    picture.append(svg("path", { class: `line line-${i}`, d: `M${lines[name].map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}` }));
    for (const [step, value] of lines[name].length > 40 ? [] : lines[name]) picture.append(svg("circle", { class: `dot-${i}`, cx: x(step), cy: y(value), r: 2.5 }));
  });
  const ends = names.map((name, i) => make("span", { class: `legend dot-${i}` }, `${name} ${most <= 1 ? percent(lines[name].at(-1)[1]) : lines[name].at(-1)[1].toPrecision(3)}`));
  return make("div", {}, picture, make("div", { class: "row" }, ...ends));
}

// --- the whole page ---

drawAccuracy();
drawChanges();
drawWhere("all");
if (Object.keys(report.confusions).length) drawMatrix(Object.keys(report.confusions)[0]);
drawTraining();
contents();
foldWhere(matchMedia("(max-width: 720px)"), "filter-box");
byId("samples-note").append(
  make("span", { class: "key ego" }), "ego kart", make("span", { class: "key asked" }), "kart asked about",
  make("span", { class: "key other" }), `other karts. ${report.probability_note}`,
);
byId("heat").hidden = !Object.keys(heat).length;
byId("heat").addEventListener("click", () => go({ heat: state().get("heat") === "1" ? null : "1" }));
const words = (s) => [s.question, s.answer, s.truth, s.image_file, shows(s).track, ...kartsOf(s)].join(" ");
const shown = gallery({ items: samples, filters: FILTERS, sorts: SORTS, words, says, card, detail, toggles: TOGGLES, perPage: 24 });
byId("csv").addEventListener("click", () => saveCsv(`${report.checkpoint}.csv`, asCsv(shown.found())));
start((chosen) => {
  byId("heat").setAttribute("aria-pressed", String(chosen.get("heat") === "1"));
  shown.draw(chosen);
});
