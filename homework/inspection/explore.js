// Draws the pairs of a split from the page's JSON block; see page_data in explore.py.
const data = read("data");
const { kinds, tracks, karts, sheet } = data;

const scenes = data.scenes.map(([track, ego, ...numbers]) => ({
  track: tracks[track],
  ego: ego < 0 ? null : ego,
  karts: Array.from({ length: numbers.length / 5 }, (_, i) => [karts[numbers[5 * i]], ...numbers.slice(5 * i + 1, 5 * i + 5)]),
}));
const asked = data.asked.map(([question, answer, kind, kart]) => ({ question, answer, kind: kinds[kind], kart: karts[kart] }));
const views = [];
const items = []; // the pairs: { view, asked }
const repeats = new Map(); // first view of a scene -> how many views show it
const leading = new Map(); // first view of a scene -> the first one that has pairs
for (let at = 0; at < data.views.length; at += 5) {
  const frame = data.frames[data.views[at]];
  const number = data.views[at + 1];
  const view = {
    frame, number, name: `${frame}_${String(number).padStart(2, "0")}_im.jpg`, index: at / 5,
    scene: scenes[data.views[at + 2]], first: data.views[at + 3], start: items.length, length: data.views[at + 4],
  };
  views.push(view);
  if (view.length && !leading.has(view.first)) leading.set(view.first, view.index);
  repeats.set(view.first, (repeats.get(view.first) || 0) + 1);
  for (let i = 0; i < view.length; i++) items.push({ view, asked: asked[data.pairs[items.length]] });
}

// Numbers by value, other names by alphabet.
const inOrder = (values) => [...new Set(values)].sort((a, b) => a - b || (a < b ? -1 : 1));

function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return counts;
}

// --- pairs ---

// The shorter side, in pixels, of the box of the kart that is asked about; null without one.
function size({ view, asked }) {
  const kart = asked.kart && view.scene.karts.find(([name]) => name === asked.kart);
  return kart ? Math.min(kart[3] - kart[1], kart[4] - kart[2]) : null;
}

const LISTED = 300; // answers to choose from; a file of one's own may have thousands
const all = tally(items.map((item) => item.asked));
const frequent = [...all].sort((a, b) => b[1] - a[1]).slice(0, LISTED).map(([pair]) => pair.answer);
const upper = (i) => data.sizes[i + 1] ?? Infinity;
const sizeTexts = data.sizes.map((least, i) => (upper(i) < Infinity ? `${least}-${upper(i) - 1} pixels` : `${least} pixels or more`));
const VIEWS = {
  one: { text: "one of each scene", fits: (view) => leading.get(view.first) === view.index },
  repeats: { text: "repeats only", fits: (view) => leading.get(view.first) !== view.index },
  alone: { text: "scenes with one view", fits: (view) => repeats.get(view.first) === 1 },
};
const FILTERS = {
  kind: { title: "Kind", options: kinds.filter((kind) => asked.some((pair) => pair.kind === kind)), fits: ({ asked }, value) => asked.kind === value },
  answer: { title: "Answer", options: inOrder(frequent), fits: ({ asked }, value) => asked.answer === value },
  track: { title: "Track", options: tracks, fits: ({ view }, value) => view.scene.track === value },
  kart: { title: "Kart in the view", options: karts, fits: ({ view }, value) => view.scene.karts.some(([name]) => name === value) },
  size: {
    title: "Size of the kart", options: data.sizes.map(String), texts: sizeTexts,
    fits: (item, value) => size(item) >= value && size(item) < upper(data.sizes.indexOf(Number(value))),
  },
  karts: { title: "Number of karts", options: inOrder(scenes.map((scene) => String(scene.karts.length))), fits: ({ view }, value) => view.scene.karts.length === Number(value) },
  views: { title: "Repeated views", options: Object.keys(VIEWS), texts: Object.values(VIEWS).map(({ text }) => text), fits: ({ view }, value) => VIEWS[value]?.fits(view) },
  scene: { title: "scene of", fits: ({ view }, value) => views[view.first].name === value },
};
// Knuth's multiplicative hash: the same order on every machine, and far views become neighbours.
const shuffled = ({ view }) => Math.imul(view.index + 1, 2654435761) >>> 0;
const SORTS = {
  "as in the split": null,
  shuffled,
  "smallest kart first": (item) => size(item) ?? Infinity,
  "most repeated first": ({ view }) => -repeats.get(view.first),
};

const words = ({ view, asked }) => `${asked.question} ${asked.answer} ${view.scene.track} ${view.name}`;

function says(found) {
  return found.length ? `${count(found.length)} of ${plural(items.length, "pair")}` : "no pair fits: remove a filter";
}

function picture(view, { boxes = true, labels = false, asked = null } = {}) {
  const { folder, columns, pictures } = sheet;
  const number = Math.floor(view.index / pictures);
  const place = view.index % pictures;
  const rows = Math.ceil(Math.min(pictures, views.length - number * pictures) / columns);
  const source = `${folder}/${String(number).padStart(4, "0")}.webp`;
  const layer = svg("image", {
    href: source, x: -150 * (place % columns), y: -100 * Math.floor(place / columns), width: 150 * columns, height: 100 * rows,
  });
  return frame(`${data.split}/${view.name}`, [layer], boxes && view.scene, { asked, labels });
}

function card({ view, asked }) {
  return [
    picture(view, { asked: asked.kart }),
    make("div", { class: "text" },
      make("div", { class: "question" }, asked.question),
      make("div", { class: "said" }, asked.answer),
      make("div", { class: "truth" }, `${view.scene.track} · ${view.name.replace("_im.jpg", "")}`),
    ),
  ];
}

function detail({ view, asked }, index, shown) {
  const others = items.slice(view.start, view.start + view.length).map((item, i) =>
    make("li", {}, make("a", { href: `#${changed({ sample: view.start + i })}`, "aria-current": view.start + i === index ? "true" : null },
      make("span", {}, item.asked.question), make("span", {}, item.asked.answer))));
  const times = repeats.get(view.first);
  const pixels = size({ view, asked });
  return [
    picture(view, { ...shown, labels: true, asked: asked.kart }),
    make("h3", { id: "detail-question", class: "question" }, asked.question),
    make("div", { class: "said" }, asked.answer),
    facts([
      ["Picture", `${data.split}/${view.name}`],
      ["Track", view.scene.track],
      ["Karts", view.scene.karts.map(([name], i) => name + (i === view.scene.ego ? " (ego)" : "")).join(", ")],
      ["Size of the kart", pixels == null ? null : `${pixels} pixels`],
      ["Views of this scene", count(times)],
    ]),
    times > 1 ? make("p", {}, make("a", { href: `#${changed({ sample: null, page: null, views: null, scene: views[view.first].name })}` }, "Show all views of this scene")) : null,
    make("h3", {}, "All pairs of this view"),
    make("ul", { class: "pairs" }, ...others),
    make("p", { class: "note" }, "On the command line: ", make("code", {}, `python -m homework.generate_qa check --info_file ${data.folder}/${view.frame}_info.json --view_index ${view.number}`)),
  ];
}

const narrow = matchMedia("(max-width: 900px)"); // then the filters stand above the pairs

// Scrolls to what was found where it is out of sight.
function reveal() {
  if (narrow.matches || byId("samples").getBoundingClientRect().top < 0) byId("samples").scrollIntoView();
}

// --- answers ---

const SHORT = 8; // answers of a kind that are shown before "show all"
const unfolded = new Set();

// Rows of a kind: [answer, pairs in the split, pairs found], the most frequent first.
function answersOf(kind, found) {
  const rows = new Map();
  for (const [pair, number] of all) {
    if (pair.kind !== kind) continue;
    const row = rows.get(pair.answer) || [pair.answer, 0, 0];
    rows.set(pair.answer, [pair.answer, row[1] + number, row[2] + (found.get(pair) || 0)]);
  }
  const sorted = [...rows.values()].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return sorted.every(([answer]) => /^\d+$/.test(answer)) ? sorted.sort((a, b) => a[0] - b[0]) : sorted;
}

function drawHistograms(chosen, found) {
  const focused = document.activeElement?.dataset?.answer;
  const counts = tally(found.map((item) => item.asked));
  byId("histograms").replaceChildren(
    ...FILTERS.kind.options.flatMap((kind) => {
      const rows = answersOf(kind, counts);
      const most = Math.max(...rows.map((row) => row[1]));
      const listed = unfolded.has(kind) ? rows.slice(0, LISTED) : rows.slice(0, SHORT);
      const more = () => { unfolded.has(kind) ? unfolded.delete(kind) : unfolded.add(kind); drawHistograms(state(), found); };
      return [
        make("h3", {}, `${kind}: ${plural(rows.reduce((sum, row) => sum + row[1], 0), "pair")}`),
        ...listed.map((row) => answerRow(kind, row, most, chosen)),
        rows.length > SHORT ? make("button", { type: "button", class: "more", "data-answer": `more ${kind}`, "aria-expanded": String(unfolded.has(kind)), onclick: more },
          unfolded.has(kind) ? "fewer" : `all ${count(rows.length)} answers`) : null,
      ].filter(Boolean);
    }),
  );
  const again = focused && [...byId("histograms").querySelectorAll("[data-answer]")].find((row) => row.dataset.answer === focused);
  if (again) again.focus();
}

function answerRow(kind, [answer, number, found], most, chosen) {
  const on = chosen.get("kind") === kind && chosen.get("answer") === answer;
  const lines = bar(number / most);
  const part = make("div", { class: "shown" });
  part.style.width = percent(found / most, 2);
  lines.append(part);
  const text = found === number ? count(number) : `${count(found)} of ${count(number)}`;
  return make("button", {
    type: "button", class: "answer", "data-answer": `${kind} ${answer}`, "aria-pressed": String(on), title: answer,
    onclick: () => { go({ kind: on ? null : kind, answer: on ? null : answer, page: null, show: null }); reveal(); },
  }, make("span", { class: "name" }, answer), lines, make("span", { class: "number" }, text));
}

// --- repeated scenes ---

const GROUPS = 24; // scenes that are shown at first, and with each "more"
const CLASSES = [[1, 1, "1 view"], [2, 4, "2 to 4 views"], [5, 19, "5 to 19"], [20, 49, "20 to 49"], [50, Infinity, "50 and more"]];
let groupsShown = GROUPS;
const sorted = [...repeats].filter(([, times]) => times > 1).sort((a, b) => b[1] - a[1] || a[0] - b[0]);

function drawScenes(chosen) {
  drawSceneSizes();
  const fits = ({ scene }) => (!chosen.get("track") || scene.track === chosen.get("track")) && (!chosen.get("kart") || scene.karts.some(([name]) => name === chosen.get("kart")));
  const groups = sorted.filter(([first]) => fits(views[first]));
  byId("scenes-title").textContent = groups.length ? `${plural(groups.length, "scene")} with several views, the most repeated first` : "No scene here has several views";
  byId("scenes").replaceChildren(
    ...groups.slice(0, groupsShown).map(([first, times]) =>
      make("li", {}, make("a", { href: `#${changed({ scene: views[first].name, show: null, page: null, views: null })}` },
        picture(views[first]),
        make("div", { class: "text" }, make("div", { class: "said" }, plural(times, "view")), make("div", { class: "truth" }, `${views[first].scene.track} · ${views[first].name.replace("_im.jpg", "")}`)),
      ))),
  );
  byId("more-scenes").hidden = groups.length <= groupsShown;
}

function drawSceneSizes() {
  if (byId("scene-sizes").children.length) return;
  const again = views.length - repeats.size;
  byId("scenes-note").textContent =
    `${plural(views.length, "view")} show ${plural(repeats.size, "scene")}: ${count(again)} (${percent(again / views.length, 0)}) repeat a moment that another view shows, too.`;
  byId("scenes-rule").textContent = data.rule;
  for (const [least, most, label] of CLASSES) {
    const times = [...repeats.values()].filter((number) => number >= least && number <= most);
    const inside = times.reduce((sum, number) => sum + number, 0);
    byId("scene-sizes").append(make("div", { class: "share" },
      make("span", {}, label), bar(inside / views.length), make("span", { class: "number" }, percent(inside / views.length)),
      make("span", { class: "detail" }, `${plural(inside, "view")} of ${plural(times.length, "scene")}`)));
  }
}

// --- line-ups ---

function drawLineUps() {
  const key = (track, kart) => `${track} ${kart}`; // names of karts have no space
  const races = new Map(data.line_ups.map(([track, kart, number]) => [key(tracks[track], karts[kart]), number]));
  const seen = tally(views.flatMap(({ scene }) => scene.karts.map(([name]) => key(scene.track, name))));
  const most = Math.max(...seen.values());
  const never = tracks.length * karts.length - seen.size;
  byId("line-ups-note").textContent =
    `Views that show a kart on a track, large enough to count. No view shows the kart on the track in ${count(never)} of ${count(tracks.length * karts.length)} cells. ` +
    "Arrow keys move, Enter shows the pairs of a cell.";
  matrix("matrix", tracks, karts, (track, kart) => {
    const number = seen.get(key(track, kart)) || 0;
    return {
      number, share: number / most,
      text: `${kart} on ${track}: ${plural(number, "view")}; it took part in ${plural(races.get(key(track, kart)) || 0, "info file")}`,
      choose: () => go({ track, kart, show: null, page: null }),
    };
  });
}

// --- the whole page ---

const TABS = { pairs: "Pairs", scenes: "Repeated scenes", "line-ups": "Line-ups" };

function drawTabs(chosen) {
  const shown = TABS[chosen.get("show")] ? chosen.get("show") : "pairs";
  const focused = byId("tabs").contains(document.activeElement);
  choices("tabs", Object.values(TABS), TABS[shown], (title) => {
    const name = Object.keys(TABS).find((tab) => TABS[tab] === title);
    go({ show: name === "pairs" ? null : name });
  });
  if (focused) byId("tabs").querySelector("[aria-pressed=true]").focus();
  for (const name of Object.keys(TABS)) byId(`tab-${name}`).hidden = name !== shown;
  return shown;
}

byId("title").textContent = document.title;
byId("subtitle").textContent =
  `${plural(items.length, "pair")} ${data.source}; ${plural(data.info_files, "info file")}, ${plural(views.length, "view")}, ${plural(tracks.length, "track")}, ${plural(karts.length, "kart")}`;
byId("notes").hidden = !data.notes.length;
byId("notes").querySelector("summary").textContent = `Left out or doubtful: ${plural(data.notes.length, "reason")}`;
byId("notes").querySelector("ul").append(...data.notes.map((note) => make("li", {}, note)));
byId("one").addEventListener("click", () => go({ views: state().get("views") === "one" ? null : "one", page: null }));
byId("save").addEventListener("click", () => {
  const rows = shown.found().map(({ view, asked }) => JSON.stringify({ question: asked.question, answer: asked.answer, image_file: `${data.split}/${view.name}` }));
  save(`${data.split}_chosen_qa_pairs.json`, "application/json", `[\n${rows.join(",\n")}\n]\n`);
});
byId("more-scenes").addEventListener("click", () => { groupsShown += GROUPS; drawScenes(state()); });
foldWhere(narrow, "filter-box", "answers");
const shown = gallery({ items, filters: FILTERS, sorts: SORTS, words, says, card, detail, toggles: { boxes: { title: "Boxes", key: "b", on: true } } });
let lastTab = null;
start((chosen) => {
  const tab = drawTabs(chosen);
  byId("one").setAttribute("aria-pressed", String(chosen.get("views") === "one"));
  shown.draw(chosen);
  byId("save").disabled = !shown.found().length;
  drawHistograms(chosen, shown.found());
  if (tab === "scenes") drawScenes(chosen);
  if (lastTab && tab !== lastTab) reveal();
  lastTab = tab;
  if (tab === "line-ups" && !byId("matrix").children.length) drawLineUps();
});
