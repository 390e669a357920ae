// What all pages share: elements, state in the address, shares, frames with boxes, and a gallery
// with search, filters, order, pages and a dialog. Text goes in as text, never as markup.
"use strict";
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const numbers = new Intl.NumberFormat("en"); // toLocaleString would make one each time
const count = (number) => numbers.format(number);
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const names = (values) => [...new Set(values)].filter(Boolean).sort();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) value && element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// --- state: all of it is in the address, so that every view of the page is a link ---

const state = () => new URLSearchParams(location.hash.slice(1));

function changed(changes) {
  const next = state();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value == null) next.delete(name);
    else next.set(name, value);
  }
  return next.toString();
}

function go(changes) {
  location.hash = changed(changes);
}

// Without a step for the browser's "back".
const replace = (changes) => location.replace(`#${changed(changes)}`);

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

// A share as a line; with onclick it is a button.
function shareRow(row, tick, detail, onclick) {
  return make(
    onclick ? "button" : "div",
    { class: row.label === "all" ? "share total" : "share", type: onclick && "button", onclick },
    make("span", {}, row.label),
    bar(row.accuracy, row.low, row.high, tick),
    make("span", { class: "number" }, percent(row.accuracy)),
    make("span", { class: "detail" }, detail),
  );
}

// A row of buttons, one of them pressed.
function choices(id, names, chosen, choose) {
  byId(id).replaceChildren(
    ...names.map((name) =>
      make("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, name),
    ),
  );
}

// rows: texts; the first of each row is its heading.
function table(head, rows) {
  const cell = (text, i) => (i ? make("td", {}, text) : make("th", { scope: "row" }, text));
  return make(
    "table",
    { class: "plain" },
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map(cell)))),
  );
}

// rows: [name, text]; those without a text are left out.
const facts = (rows) =>
  make("dl", {}, ...rows.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));

// A grid of buttons with one row and one column for each name; its columns shrink with the page.
// Arrow keys move. cell(row, column) -> { number, share, text, choose, color, mark }; share: 0 to 1,
// of the colour; mark: a class of the cell.
// The element #cell tells the text of the cell that has the focus or the pointer.
function matrix(id, rows, columns, cell) {
  const box = byId(id);
  const width = Math.min(9, Math.max(2, ...rows.map((name) => name.length * 0.5)));
  box.style.gridTemplateColumns = `min(${width}rem, 22vw) repeat(${columns.length}, minmax(0, 2.5rem))`;
  const cells = [];
  const line = (row) => columns.map((column) => {
    const { number, share, text, choose, color, mark } = cell(row, column);
    const tell = () => { byId("cell").textContent = text; };
    const button = make("button", {
      type: "button", role: "gridcell", tabindex: "-1", "aria-label": text, title: text, class: mark,
      onclick: choose, onfocus: tell, onmouseenter: tell,
    }, number ? count(number) : "");
    if (number) button.style.background = `color-mix(in srgb, ${color || "var(--fill)"} ${Math.round(15 + 75 * share)}%, var(--card))`;
    if (number && color && share > 0.45) button.style.color = "var(--card)";
    cells.push(button);
    return button;
  });
  box.replaceChildren(
    make("span", {}), ...columns.map((name) => make("span", { class: "column", title: name }, name)),
    ...rows.flatMap((name) => [make("span", { class: "name", title: name }, name), ...line(name)]),
  );
  if (cells.length) cells[0].tabIndex = 0;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns.length, ArrowUp: -columns.length };
  box.onkeydown = (event) => {
    const here = cells.indexOf(document.activeElement);
    const there = cells[here + steps[event.key]];
    if (here < 0 || !there) return;
    event.preventDefault();
    cells[here].tabIndex = -1;
    there.tabIndex = 0;
    there.focus();
  };
}

// --- frames ---

// A frame, 150 x 100 pixels, with its layers (addresses of pictures, or SVG elements) and the boxes
// of view.karts, [[name, x1, y1, x2, y2], ...]; view.ego is the place of the ego kart, or null.
function frame(name, layers, view, { asked, labels } = {}) {
  const picture = svg("svg", { class: "frame", viewBox: "0 0 150 100", role: "img", "aria-label": `frame ${name}` });
  for (const layer of layers.filter(Boolean)) {
    picture.append(layer.nodeType ? layer : svg("image", { href: layer, width: 150, height: 100, preserveAspectRatio: "none" }));
  }
  if (!view) return picture;
  // The ego last, so that no other box covers its own.
  view.karts.map((kart, i) => [kart, i]).sort((a, b) => (a[1] === view.ego) - (b[1] === view.ego)).forEach(([[name, x1, y1, x2, y2], i]) => {
    const kind = i === view.ego ? "ego" : name === asked ? "asked" : "other";
    picture.append(svg("rect", { class: kind, x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    if (labels) picture.append(svg("text", { class: kind, x: Math.min(Math.max(x1, 1), 149 - name.length * 2.5), y: y1 > 6 ? y1 - 1.5 : Math.min(y2 + 5, 98) }, name));
  });
  return picture;
}

// --- gallery ---

// Items with search, filters, order and pages. The page has the elements #samples (the heading),
// #filters, #found, #chips, #gallery and #detail. In the address: `search`, `sort`, `page`, `sample` (an index into the items) and the
// name of each filter.
//   filters  name -> { title, fits(item, value), options, texts }; options: values to choose from,
//            texts: what they are called. A filter without options is set by links alone, and shown
//            as a button that removes it.
//   sorts    title -> key(item), smallest first, or null; the first one is the default
//   words    item -> the text that is searched
//   says     (indices of the items found, chosen, matching) -> the line above the gallery;
//            matching(chosen): indices of the items that fit other choices
//   card     (item, index, chosen) -> nodes
//   detail   (item, index, shown) -> [picture, ...nodes at its side]; shown: name of a toggle -> on
//   toggles  name -> { title, key, on, has(item, index) }, buttons of the dialog
//   perPage  cards on a page
const toSamples = () => byId("samples").scrollIntoView();

// Shows the samples that fit these choices alone.
function only(changes) {
  location.hash = new URLSearchParams(Object.entries(changes).filter(([, value]) => value != null)).toString();
  toSamples();
}

function gallery({ items, filters, sorts, words, says, card, detail, toggles = {}, perPage = 48 }) {
  const drawnFilters = Object.entries(filters).filter(([, filter]) => filter.options && filter.options.length);
  const shown = Object.fromEntries(Object.entries(toggles).map(([name, toggle]) => [name, toggle.on]));
  const dialog = byId("detail");
  let texts = null;
  let found = [];
  let drawn = null;
  let last = null; // the sample that the dialog showed

  function select(name, title, options, texts) {
    const box = make("select", { name, onchange: () => pick({ [name]: box.value }, true) });
    if (name !== "sort") box.append(make("option", { value: "" }, "all"));
    options.forEach((value, i) => box.append(make("option", { value }, texts[i])));
    return make("label", {}, title, box);
  }

  function search() {
    const box = make("input", { name: "search", type: "search", autocomplete: "off", oninput: () => pick({ search: box.value }) });
    return make("label", { class: "search" }, "Search", box);
  }

  // What is typed changes with every letter: no step of its own for the browser's "back".
  function pick(changes, step) {
    (step ? go : replace)({ ...changes, page: null });
    if (byId("samples").getBoundingClientRect().top < 0) toSamples();
  }

  function matching(chosen) {
    const tests = Object.entries(filters).filter(([name]) => chosen.get(name)).map(([name, { fits }]) => [fits, chosen.get(name)]);
    const wanted = (chosen.get("search") || "").toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length && !texts) texts = items.map((item) => words(item).toLowerCase());
    const fitting = [];
    for (let index = 0; index < items.length; index++) {
      const item = items[index];
      if (tests.every(([fits, value]) => fits(item, value)) && wanted.every((word) => texts[index].includes(word))) fitting.push(index);
    }
    return fitting;
  }

  function sorted(indices, title) {
    const key = title in sorts ? sorts[title] : Object.values(sorts)[0];
    if (!key) return indices;
    const keys = new Map(indices.map((index) => [index, key(items[index])]));
    return indices.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  }

  function drawCards(chosen) {
    const now = new URLSearchParams(chosen);
    now.delete("sample");
    if (drawn === now.toString()) return;
    drawn = now.toString();
    found = sorted(matching(chosen), chosen.get("sort"));
    for (const box of byId("filters").elements) {
      const value = chosen.get(box.name) || (box.name === "sort" ? Object.keys(sorts)[0] : "");
      if (box.value !== value) box.value = value;
    }
    byId("found").textContent = says(found, chosen, matching);
    const chip = (text, attributes, changes) =>
      make("button", { type: "button", ...attributes, onclick: () => { byId("samples").focus({ preventScroll: true }); go(changes); } }, text);
    byId("chips").replaceChildren(
      ...Object.entries(filters)
        .filter(([name, { options }]) => !options && chosen.has(name))
        .map(([name, { title }]) => chip(`${title} ${chosen.get(name)} ✕`, {}, { [name]: null, page: null })),
      ...(drawn ? [chip("Show all", { id: "reset" }, Object.fromEntries([...chosen.keys()].map((name) => [name, null])))] : []),
    );
    const pages = Math.max(1, Math.ceil(found.length / perPage));
    const page = Math.min(pages, Math.max(1, Number(chosen.get("page")) || 1));
    byId("page").textContent = `page ${count(page)} of ${count(pages)}`;
    byId("pages").hidden = pages === 1;
    byId("previous-page").disabled = page === 1;
    byId("next-page").disabled = page === pages;
    byId("previous-page").onclick = () => turn(page - 1);
    byId("next-page").onclick = () => turn(page + 1);
    byId("gallery").replaceChildren(
      ...found.slice((page - 1) * perPage, page * perPage).map((index) =>
        make("li", {}, make("a", { href: `#${changed({ sample: index })}`, "data-sample": index }, ...card(items[index], index, chosen))),
      ),
    );
  }

  function turn(page) {
    go({ page: page > 1 ? page : null });
    toSamples();
  }

  function drawDetail(chosen) {
    const index = Number(chosen.get("sample"));
    if (!chosen.has("sample") || !items[index]) {
      if (dialog.open) dialog.close();
      return;
    }
    last = index;
    const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const place = found.indexOf(index);
    const button = (name, text, onclick, more = {}) => make("button", { type: "button", "data-name": name, onclick, ...more }, text);
    const neighbour = (step) => found[place + step];
    const switches = Object.entries(toggles).filter(([, { has }]) => !has || has(items[index], index));
    const [picture, ...side] = detail(items[index], index, shown);
    const keys = [["← →", "other samples"], ...switches.map(([, { title, key }]) => [key, title.toLowerCase()]), ["Esc", "close"]];
    dialog.replaceChildren(
      make("div", { class: "detail-page" }, picture, make("div", { class: "side" },
        make("div", { class: "row" },
          button("previous", "← Previous", () => go({ sample: neighbour(-1) }), { disabled: place <= 0 }),
          button("next", "Next →", () => go({ sample: neighbour(1) }), { disabled: place < 0 || place + 1 >= found.length }),
          button("close", "Close", () => go({ sample: null })),
        ),
        ...side,
        make("div", { class: "row" },
          ...switches.map(([name, { title }]) => button(name, title, () => { shown[name] = !shown[name]; drawDetail(state()); }, { "aria-pressed": String(shown[name]) })),
          make("a", { href: `#${changed({ sample: index })}`, "data-name": "link" }, "Link to this sample"),
        ),
        make("p", { class: "note" }, ...keys.flatMap(([key, text], i) => [i ? ", " : "", make("kbd", {}, key), ` ${text}`])),
      )),
    );
    if (!dialog.open) dialog.showModal();
    const again = focused && dialog.querySelector(`[data-name="${focused}"]:not(:disabled)`);
    (again || dialog.querySelector("[data-name=close]")).focus();
  }

  byId("gallery").after(make("div", { class: "row", id: "pages" },
    make("button", { type: "button", id: "previous-page" }, "Previous page"),
    make("span", { id: "page", "aria-live": "polite" }),
    make("button", { type: "button", id: "next-page" }, "Next page"),
  ));
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  // Before the first letter is typed: of 100,000 items it takes a moment.
  form.addEventListener("focusin", () => { texts ||= items.map((item) => words(item).toLowerCase()); });
  form.append(search(), ...drawnFilters.map(([name, { title, options, texts }]) => select(name, title, options, texts || options)));
  form.append(select("sort", "Order", Object.keys(sorts), Object.keys(sorts)));
  document.addEventListener("keydown", (event) => {
    if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { ArrowLeft: "previous", ArrowRight: "next" };
    for (const [name, { key }] of Object.entries(toggles)) keys[key] = name;
    const button = keys[event.key] && dialog.querySelector(`[data-name="${keys[event.key]}"]`);
    if (button) { event.preventDefault(); button.click(); }
  });
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); go({ sample: null }); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) go({ sample: null }); });
  dialog.addEventListener("close", () => {
    const card = last != null && document.querySelector(`[data-sample="${last}"]`);
    if (card) card.focus();
  });
  return {
    draw(chosen) {
      drawCards(chosen);
      drawDetail(chosen);
    },
    found: () => found.map((index) => items[index]),
  };
}

// Offers a file to save, made here.
function save(name, type, text) {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// rows of cells
function saveCsv(name, rows) {
  const cell = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = rows.map((row) => row.map((value) => cell(String(value ?? ""))).join(",") + "\r\n");
  save(name, "text/csv", `\ufeff${lines.join("")}`);
}

// --- what every page has: the theme's button (what the system says, or one of the two), and links
// to its sections ---

// Fills #contents with the headings of the sections that are shown.
function contents() {
  const headings = [...document.querySelectorAll("main section:not([hidden]) > h2")];
  byId("contents").replaceChildren(...headings.map((h) => make("a", { class: "jump", href: `#${h.id}` }, h.textContent)));
}

// Folds these <details> where a media query matches, such as that of a narrow page.
function foldWhere(narrow, ...ids) {
  const fold = () => ids.forEach((id) => { byId(id).open = !narrow.matches; });
  narrow.addEventListener("change", fold);
  fold();
}

function jumps() {
  for (const link of document.querySelectorAll("a.jump")) {
    const target = byId(link.getAttribute("href").slice(1));
    target.tabIndex = -1;
    link.addEventListener("click", (event) => {
      event.preventDefault(); // the address holds the state, not a place on the page
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    });
  }
}

const THEMES = ["system", "light", "dark"];
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
});

// Draws the page now and whenever the address changes.
function start(draw) {
  jumps();
  addEventListener("hashchange", () => draw(state()));
  draw(state());
  document.documentElement.dataset.ready = "";
}
