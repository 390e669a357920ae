// Draws the report from the page's two JSON blocks. Text goes in as text, never as markup.
"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const report = read("data");
const pictures = read("pictures");
const { samples, views, heat } = report;
const before = report.against || null;
const PAGE = 48;
const KINDS = report.kinds.map((row) => row.label);
const byId = (id) => document.getElementById(id);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const count = (number) => number.toLocaleString("en");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// --- state: all of it is in the address, so that every view of the page is a link ---

const state = () => new URLSearchParams(location.hash.slice(1));

function go(changes) {
  const next = state();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value == null) next.delete(name);
    else next.set(name, value);
  }
  location.hash = next.toString();
}

// --- shares ---

function bar(share, low, high, tick) {
  const box = make("div", { class: "bar", "aria-hidden": "true" });
  const add = (name, left, width) => {
    const part = make("div", { class: name });
    if (left != null) part.style.left = percent(left, 2);
    if (width != null) part.style.width = percent(width, 2);
    box.append(part);
  };
  add("fill", null, share);
  if (low != null) add("whisker", low, high - low);
  if (tick != null) add("tick", tick, null);
  return box;
}

function shareRow(row, tick, detail) {
  return make(
    "div",
    { class: row.label === "all" ? "share total" : "share" },
    make("span", {}, row.label),
    bar(row.accuracy, row.low, row.high, tick),
    make("span", { class: "number" }, percent(row.accuracy)),
    make("span", { class: "detail" }, detail),
  );
}

const interval = (row) => `${percent(row.low, 0)} to ${percent(row.high, 0)}, n ${count(row.total)}`;

function drawAccuracy() {
  byId("title").textContent = `What ${report.checkpoint} sees`;
  byId("subtitle").textContent =
    `${count(samples.length)} questions about ${report.split}; trained on ${report.train_split}, ` +
    `from ${report.base}`;
  byId("accuracy-note").textContent =
    "Bar: answered right, with its 95% interval (Wilson). Dashed tick: always giving the commonest " +
    `answer of ${report.majority_source}.`;
  for (const row of report.kinds) byId("accuracy").append(shareRow(row, row.majority, interval(row)));
  byId("footer").textContent = [
    `${report.checkpoint} (adapter ${report.adapter_sha256.slice(0, 12)})`,
    ...Object.entries(report.versions).map((entry) => entry.join(" ")),
  ].join(" · ");
}

function drawChanges() {
  if (!before) return;
  byId("changes").hidden = false;
  byId("changes-note").textContent =
    `Against ${before.checkpoint} (adapter ${before.adapter_sha256.slice(0, 12)}), question by question. p: McNemar's exact test; ` +
    "small means that two equally good models would rarely differ so much." +
    (before.only_now || before.only_before
      ? ` Left out: ${count(before.only_now)} asked only now, ${count(before.only_before)} only before.`
      : "");
  const head = ["kind", "before", "now", "fixed", "broken", "p"];
  const rows = before.kinds.map((row) => [
    row.label,
    percent(row.before / row.total),
    percent(row.now / row.total),
    count(row.fixed),
    count(row.broken),
    row.p < 0.001 ? "<0.001" : row.p.toFixed(3),
  ]);
  const line = (tag, cells) =>
    make("tr", {}, ...cells.map((cell, i) => make(i && tag === "td" ? "td" : "th", { scope: i && tag === "td" ? null : tag === "td" ? "row" : "col" }, cell)));
  byId("changes-table").append(
    make("table", { class: "plain" }, make("thead", {}, line("th", head)), make("tbody", {}, ...rows.map((cells) => line("td", cells)))),
  );
}

const BREAKDOWNS = {
  size: ["Size of the kart asked about", "shorter side of its box, in pixels of the 150×100 picture"],
  karts: ["Karts in the view", "that are large enough to count"],
  seen: ["Kart on this track in training", "whether the training split shows the kart asked about on this track"],
};

function choices(id, names, chosen, choose) {
  byId(id).replaceChildren(
    ...names.map((name) =>
      make("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, name),
    ),
  );
}

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
        make("p", { class: "note" }, `by the probability of its answer (dashed tick: what it claims); mean distance ${percent(calibration.error)}`),
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
const names = (values) => [...new Set(values)].filter(Boolean).sort();

const CHANGES = { fixed: "wrong before, right now", broken: "right before, wrong now", other: "another answer" };
const FILTERS = {
  kind: ["Kind", KINDS.filter((kind) => kind !== "all"), (s, value) => s.kind === value],
  result: ["Result", ["wrong", "right"], (s, value) => s.right === (value === "right")],
  track: ["Track", names(samples.map((s) => shows(s).track)), (s, value) => shows(s).track === value],
  kart: ["Kart in the view", names(samples.flatMap((s) => shows(s).karts.map((k) => k[0]))), (s, value) => shows(s).karts.some((k) => k[0] === value)],
  seen: ["Seen in training", report.seen_known ? ["seen", "unseen"] : [], (s, value) => s.seen === (value === "seen")],
  changed: ["Changed", before ? Object.keys(CHANGES) : [], (s, value) => changeOf(s) === value],
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

function select(name, title, options, texts = options) {
  const box = make("select", { name, onchange: () => go({ [name]: box.value, page: null }) });
  if (name !== "sort") box.append(make("option", { value: "" }, "all"));
  options.forEach((value, i) => box.append(make("option", { value }, texts[i])));
  return make("label", {}, title, box);
}

function drawFilters() {
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const [name, [title, options]] of Object.entries(FILTERS)) {
    if (options.length) form.append(select(name, title, options, name === "changed" ? Object.values(CHANGES) : options));
  }
  form.append(select("sort", "Order", Object.keys(SORTS)));
  byId("samples-note").append(
    make("span", { class: "key ego" }), "ego kart", make("span", { class: "key asked" }), "kart asked about",
    make("span", { class: "key other" }), `other karts. ${report.probability_note}`,
  );
  byId("heat").hidden = !Object.keys(heat.grids).length;
}

let found = [];

function filter(chosen) {
  const tests = Object.entries(FILTERS).filter(([name]) => chosen.get(name)).map(([name, [, , test]]) => [test, chosen.get(name)]);
  found = [];
  samples.forEach((sample, index) => {
    const fits = tests.every(([test, value]) => test(sample, value));
    const cell = (!chosen.has("truth") || sample.truth === chosen.get("truth")) && (!chosen.has("answer") || sample.answer === chosen.get("answer"));
    if (fits && cell) found.push(index);
  });
  const key = SORTS[chosen.get("sort")];
  if (key) found.sort((a, b) => key(samples[a]) - key(samples[b]) || a - b);
}

let drawn = null;

function drawGallery(chosen) {
  const now = new URLSearchParams(chosen);
  now.delete("sample");
  if (drawn === now.toString()) return;
  drawn = now.toString();
  filter(chosen);
  for (const box of byId("filters").elements) {
    const value = chosen.get(box.name) || (box.name === "sort" ? "as asked" : "");
    if (box.value !== value) box.value = value;
  }
  const right = found.filter((index) => samples[index].right).length;
  byId("found").textContent = found.length
    ? `${count(found.length)} of ${count(samples.length)}, ${percent(right / found.length)} right`
    : "none: take a filter away";
  byId("cell-filter").hidden = !chosen.has("truth");
  byId("cell-filter").textContent = `truth ${chosen.get("truth")}, answered ${chosen.get("answer")} ✕`;
  byId("reset").hidden = !drawn;
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(pages, Math.max(1, Number(chosen.get("page")) || 1));
  byId("page").textContent = `page ${page} of ${pages}`;
  byId("pages").hidden = pages === 1;
  byId("previous-page").disabled = page === 1;
  byId("next-page").disabled = page === pages;
  byId("previous-page").onclick = () => turn(page - 1);
  byId("next-page").onclick = () => turn(page + 1);
  const looks = chosen.get("heat") === "1";
  byId("heat").setAttribute("aria-pressed", String(looks));
  byId("gallery").replaceChildren(...found.slice((page - 1) * PAGE, page * PAGE).map((index) => card(index, looks)));
}

function turn(page) {
  go({ page: page > 1 ? page : null });
  byId("samples").scrollIntoView();
}

function linkTo(index) {
  const next = state();
  next.set("sample", index);
  return `#${next}`;
}

function card(index, looks) {
  const sample = samples[index];
  return make("li", {}, make("a", { href: linkTo(index), "data-sample": index },
    frame(sample, index, { boxes: true, looks }),
    make("div", { class: "text" },
      make("div", { class: "question" }, sample.question),
      make("div", { class: `said ${sample.right ? "right" : "wrong"}` }, sample.answer || "(nothing)"),
      make("div", { class: "truth" },
        [sample.right ? null : `truth: ${sample.truth}`, sample.probability == null ? null : `p\u00a0${percent(sample.probability, 0)}`]
          .filter(Boolean).join(" · ") || "\u00a0"),
    )));
}

function frame(sample, index, { boxes, looks, labels }) {
  const view = shows(sample);
  const picture = svg("svg", { class: "frame", viewBox: "0 0 150 100", role: "img", "aria-label": `frame ${sample.image_file}` });
  const source = pictures[sample.image_file];
  if (source) picture.append(svg("image", { href: `data:image/webp;base64,${source}`, width: 150, height: 100, preserveAspectRatio: "none" }));
  const grid = looks && heat.grids[index];
  if (grid) picture.append(svg("image", { href: heatPicture(grid), width: 150, height: 100, preserveAspectRatio: "none" }));
  if (boxes) {
    view.karts.map((kart, i) => [kart, i]).sort((a, b) => (a[1] === view.ego) - (b[1] === view.ego)).forEach(([[name, x1, y1, x2, y2], i]) => {
      const kind = i === view.ego ? "ego" : name === sample.kart ? "asked" : "other";
      picture.append(svg("rect", { class: kind, x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
      if (labels) picture.append(svg("text", { class: kind, x: Math.min(Math.max(x1, 1), 149 - name.length * 2.5), y: y1 > 6 ? y1 - 1.5 : Math.min(y2 + 5, 98) }, name));
    });
  }
  return picture;
}

// Grids hold a byte a cell, rows first. Smoothly enlarged: dimmed where it is cold, tinted where
// it is hot, as explain.overlay draws it.
function heatPicture(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const side = Math.sqrt(bytes.length);
  const small = make("canvas", { width: side, height: side });
  const image = new ImageData(side, side);
  bytes.forEach((value, i) => {
    const heat = value / 255;
    image.data.set(heat < 0.5 ? [8, 12, 32, 350 * (0.5 - heat)] : [255, 120, 0, 300 * (heat - 0.5)], 4 * i);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const large = make("canvas", { width: 150, height: 100 });
  const context = large.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 150, 100);
  return large.toDataURL();
}

// --- one sample ---

const shown = { boxes: true, looks: state().get("heat") === "1" };

function drawDetail(chosen) {
  const dialog = byId("detail");
  const index = Number(chosen.get("sample"));
  if (!chosen.has("sample") || !samples[index]) {
    if (dialog.open) dialog.close();
    return;
  }
  const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  const sample = samples[index];
  const place = found.indexOf(index);
  const button = (name, text, onclick, more = {}) => make("button", { type: "button", "data-name": name, onclick, ...more }, text);
  const neighbour = (step) => found[place + step];
  const toggle = (name, text) => button(name, text, () => { shown[name] = !shown[name]; drawDetail(state()); }, { "aria-pressed": String(shown[name]) });
  dialog.replaceChildren(make("div", { class: "detail-page" },
    frame(sample, index, { boxes: shown.boxes, looks: shown.looks, labels: shown.boxes }),
    make("div", { class: "side" },
      make("div", { class: "row" },
        button("previous", "← Previous", () => go({ sample: neighbour(-1) }), { disabled: place <= 0 }),
        button("next", "Next →", () => go({ sample: neighbour(1) }), { disabled: place < 0 || place + 1 >= found.length }),
        button("close", "Close", () => go({ sample: null })),
      ),
      make("h3", { id: "detail-question", class: "question" }, sample.question),
      make("div", { class: `said ${sample.right ? "right" : "wrong"}` }, sample.answer || "(nothing)"),
      sample.right ? null : make("div", { class: "truth" }, `truth: ${sample.truth}`),
      scores(sample),
      facts(sample),
      make("div", { class: "row" },
        toggle("boxes", "Boxes"),
        heat.grids[index] ? toggle("looks", "Where it looks") : null,
        make("a", { href: linkTo(index), "data-name": "link" }, "Link to this sample"),
      ),
      make("p", { class: "note" }, make("kbd", {}, "←"), " ", make("kbd", {}, "→"), " other samples, ", make("kbd", {}, "b"), " boxes, ", make("kbd", {}, "h"), " heat, ", make("kbd", {}, "Esc"), " close"),
    )));
  if (!dialog.open) dialog.showModal();
  const again = focused && dialog.querySelector(`[data-name="${focused}"]:not(:disabled)`);
  (again || dialog.querySelector("[data-name=close]")).focus();
}

function scores(sample) {
  if (!sample.scores.length) return null;
  const rows = sample.scores.flatMap(([answer, value]) => [
    make("span", {}, answer + (answer === sample.truth ? " (truth)" : "")), bar(value), make("span", { class: "value" }, percent(value)),
  ]);
  return make("div", { class: "scores" }, ...rows);
}

function facts(sample) {
  const view = shows(sample);
  const rows = [
    ["Frame", sample.image_file],
    ["Track", view.track],
    ["Karts", view.karts.map(([name], i) => name + (i === view.ego ? " (ego)" : "")).join(", ")],
    ["Kart's size", sample.size == null ? null : `${sample.size} pixels`],
    ["In training", sample.seen == null ? null : sample.seen ? "this kart was seen on this track" : "this kart was never seen on this track"],
    ["Before", sample.before ? `${sample.before.answer || "(nothing)"} (${sample.before.right ? "right" : "wrong"})` : null],
  ];
  return make("dl", {}, ...rows.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}

document.addEventListener("keydown", (event) => {
  if (!byId("detail").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const names = { ArrowLeft: "previous", ArrowRight: "next", b: "boxes", h: "looks" };
  const button = byId("detail").querySelector(`[data-name="${names[event.key]}"]`);
  if (button) { event.preventDefault(); button.click(); }
});
byId("detail").addEventListener("cancel", (event) => { event.preventDefault(); go({ sample: null }); });
byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) go({ sample: null }); });
byId("detail").addEventListener("close", () => {
  const card = drawnFrom != null && document.querySelector(`[data-sample="${drawnFrom}"]`);
  if (card) card.focus();
});

// --- theme: what the system says, or one of the two ---

const THEMES = ["system", "light", "dark"];
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the state, not a place on the page
  byId("samples").scrollIntoView();
  byId("samples").focus();
});

let drawnFrom = null;
function draw() {
  const chosen = state();
  drawGallery(chosen);
  if (chosen.has("sample")) drawnFrom = chosen.get("sample");
  drawDetail(chosen);
}

drawAccuracy();
drawChanges();
drawWhere("all");
if (Object.keys(report.confusions).length) drawMatrix(Object.keys(report.confusions)[0]);
drawFilters();
byId("reset").addEventListener("click", () => go(Object.fromEntries([...state().keys()].map((name) => [name, null]))));
byId("cell-filter").addEventListener("click", () => go({ truth: null, answer: null, page: null }));
byId("heat").addEventListener("click", () => go({ heat: state().get("heat") === "1" ? null : "1" }));
addEventListener("hashchange", draw);
draw();
document.documentElement.dataset.ready = "";
