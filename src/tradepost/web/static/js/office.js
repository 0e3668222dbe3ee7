// The back office by keyboard, and by hand where dragging is quicker. Every page works without it.
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/* g and a letter go to a part; j and k walk the rows, x ticks, Enter opens; ? says so. */
const PLACES = { t: "/office", o: "/office/orders", d: "/office/delivery", k: "/office/kitchen", l: "/office/listings", c: "/office/categories", s: "/office/settings", f: "/office/figures", p: "/office/promos", m: "/office/money", w: "/messages" };
const WORDS = [["g t", "Today"], ["g o", "Orders"], ["g d", "Delivery"], ["g k", "Kitchen"], ["g l", "Listings"], ["g c", "Categories"], ["g s", "Words and colours"], ["g f", "Figures"], ["g p", "Promo codes"], ["g m", "Money"], ["g w", "Messages"],
  ["/", "Find on this page"], ["j k", "Next and previous row"], ["x", "Tick the row"], ["Enter", "Open it"], ["← → ↑ ↓", "Move on a board"], ["Alt+↑ ↓ ← →", "Move a category"], ["?", "This list"]];
let waitsForPlace = 0;
const isTyping = (target) => target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
const rows = () => all("[data-rows] tbody tr");
function walk(step) {
  const list = rows();
  const at = list.findIndex((row) => row.contains(document.activeElement));
  const next = list[Math.max(0, Math.min(list.length - 1, at + step))];
  one("th a, a", next ?? document)?.focus();
}
function help() {
  const open = one("#office-keys");
  if (open) return open.remove();
  const box = document.createElement("dialog");
  box.id = "office-keys";
  box.className = "dialog";
  const title = document.createElement("h2");
  title.textContent = "Keys";
  const list = document.createElement("dl");
  list.className = "facts";
  for (const [keys, what] of WORDS) {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    for (const key of keys.split(" ")) { const shown = document.createElement("kbd"); shown.textContent = key; term.append(shown, " "); }
    const said = document.createElement("dd");
    said.textContent = what;
    row.append(term, said);
    list.append(row);
  }
  box.append(title, list);
  box.addEventListener("click", () => box.remove());
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (waitsForPlace && Date.now() < waitsForPlace && PLACES[event.key]) {
    waitsForPlace = 0;
    location.assign(PLACES[event.key]);
    return;
  }
  waitsForPlace = event.key === "g" ? Date.now() + 1500 : 0;
  if (event.key === "?") { event.preventDefault(); help(); }
  if ((event.key === "j" || event.key === "k") && rows().length) { event.preventDefault(); walk(event.key === "j" ? 1 : -1); }
  if (event.key === "x") one("input[type=checkbox]", document.activeElement?.closest("[data-rows] tr") ?? document.createElement("i"))?.click();
  const find = one("[data-find]");
  if (event.key === "/" && find) { event.preventDefault(); event.stopImmediatePropagation(); find.focus(); find.select(); }
}, { capture: true });

/* On a phone the tabs are a strip: the one we are on is brought into view, without moving the page. */
for (const strip of all(".office-tabs, .office-sub, .chips--scroll")) {
  const here = one("[aria-current]", strip);
  if (here && strip.scrollWidth > strip.clientWidth) strip.scrollLeft = here.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
}

/* Empty fields of a filter do not clutter the address. */
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-tidy]")) return;
  for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
});

/* Stops are dragged from lane to lane; where they land, the form of the stop is sent with that rider. */
let dragged = null;
document.addEventListener("dragstart", (event) => { dragged = event.target.closest?.("[data-stop]"); });
document.addEventListener("dragover", (event) => {
  const lane = event.target.closest?.("[data-lane]");
  if (!lane || !dragged || !lane.parentElement.contains(dragged)) return;
  event.preventDefault();
  for (const other of all(".lane--over")) other.classList.remove("lane--over");
  lane.classList.add("lane--over");
});
document.addEventListener("dragend", () => {
  for (const other of all(".lane--over")) other.classList.remove("lane--over");
  dragged = null;
});
document.addEventListener("drop", (event) => {
  const lane = event.target.closest?.("[data-lane]");
  const choice = dragged && one("select[name=rider_id]", dragged);
  if (!lane || !choice || !lane.parentElement.contains(dragged)) return;
  event.preventDefault();
  if (![...choice.options].some((option) => option.value === lane.dataset.lane)) return;
  choice.value = lane.dataset.lane;
  one("ol", lane).append(dragged);
  choice.form.requestSubmit();
});

/* The category tree: rows are dragged before, after or inside another; Alt and an arrow key moves the row one is on. */
const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "out", ArrowRight: "in" };
let branch = null;
function send(row, where, to = "") {
  const form = one("form[data-place]", row);
  form.elements.to.value = to;
  form.requestSubmit(one(`button[value=${["up", "down", "in", "out"].includes(where) ? where : "up"}]`, form));
}
function place(row, where, to) {  // what no button says: the name of a target
  const form = one("form[data-place]", row);
  const said = document.createElement("input");
  said.type = "hidden";
  said.name = "where";
  said.value = where;
  form.append(said);
  form.elements.to.value = to;
  form.submit();
}
const unmark = () => { for (const row of all("[data-branch]")) row.classList.remove("tree__row--before", "tree__row--after", "tree__row--inside"); };
function sideOf(event, row) {
  const box = row.getBoundingClientRect();
  const part = (event.clientY - box.top) / box.height;
  return part < 0.3 ? "before" : part > 0.7 ? "after" : "inside";
}
function isBelow(row, other) {  // the rows after one that lie deeper are its own
  for (let next = row.nextElementSibling; next && Number(next.dataset.depth) > Number(row.dataset.depth); next = next.nextElementSibling) if (next === other) return true;
  return false;
}
for (const row of all("[data-branch]")) {
  row.draggable = true;
  row.addEventListener("dragstart", (event) => { branch = row; row.classList.add("tree__row--dragged"); event.dataTransfer.effectAllowed = "move"; });
  row.addEventListener("dragend", () => { row.classList.remove("tree__row--dragged"); unmark(); branch = null; });
  row.addEventListener("dragover", (event) => {
    if (!branch || branch === row || isBelow(branch, row)) return;
    event.preventDefault();
    unmark();
    row.classList.add(`tree__row--${sideOf(event, row)}`);
  });
  row.addEventListener("drop", (event) => {
    if (!branch || branch === row || isBelow(branch, row)) return;
    event.preventDefault();
    place(branch, sideOf(event, row), row.dataset.branch);
  });
  row.addEventListener("keydown", (event) => {
    if (!event.altKey || !ARROWS[event.key]) return;
    event.preventDefault();
    const button = one(`button[value=${ARROWS[event.key]}]`, row);
    if (!button.disabled) send(row, ARROWS[event.key]);
  });
}

/* What waits is counted while one works: on the tab of today, in the title of the window, and the desk itself is drawn anew. */
const desk = one("[data-desk-events]");
if (desk && window.EventSource) {
  const source = new EventSource(desk.dataset.deskEvents);
  const title = document.title;
  let shown = null;
  source.addEventListener("desk", (event) => {
    const counts = JSON.parse(event.data);
    for (const badge of all("[data-desk]")) badge.textContent = counts[badge.dataset.desk] || "";
    document.title = counts.total ? `(${counts.total}) ${title}` : title;
    if (shown !== null && shown !== counts.state && one("#today")) htmx.trigger("#today", "desk");
    shown = counts.state;
  });
  addEventListener("pagehide", () => source.close());
}
