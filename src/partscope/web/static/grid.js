// The pictures as thumbnails. Only what can be seen exists: 5,000 pictures cost no more than fifty.

import * as api from "./api.js";
import { on, open, sortPictures, state } from "./store.js";
import { $, make, plural } from "./say.js";

const grid = $("grid");
const fill = make("div", { className: "fill" });
grid.append(fill);
const cells = new Map(); // id -> element
let active = 0;

const SIGNS = {
  done: ["✓", "marked"],
  part: ["…", "marked in part"],
  found: ["◌", "parts were found"],
  open: ["", "not marked"],
  bad: ["✕", "cannot be read"],
};

function layout() {
  const width = fill.clientWidth || grid.clientWidth;
  const columns = Math.max(2, Math.floor(width / 104));
  const side = Math.floor(width / columns);
  const height = Math.round(side * 0.86) + 22;
  return { columns, side, height, rows: Math.ceil(state.order.length / columns) };
}

function render() {
  const { columns, side, height, rows } = layout();
  fill.style.height = `${rows * height}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / height) - 1) * columns;
  const last = Math.min(state.order.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 1) * columns);
  const seen = new Set(state.order.slice(first, last));
  for (const [id, cell] of cells) {
    if (seen.has(id)) continue;
    const image = cell.querySelector("img");
    if (image && !image.complete) image.src = ""; // not needed any more: the next ones come sooner
    cell.remove();
    cells.delete(id);
  }
  for (let index = first; index < last; index += 1) {
    const id = state.order[index];
    let cell = cells.get(id);
    if (!cell) {
      cell = make("div", { className: "cell", role: "option", id: `cell-${id}` });
      cell.dataset.id = id;
      cells.set(id, cell);
      fill.append(cell);
    }
    cell.style.left = `${(index % columns) * side}px`;
    cell.style.top = `${Math.floor(index / columns) * height}px`;
    cell.style.width = `${side}px`;
    cell.style.height = `${height}px`;
    cell.setAttribute("aria-setsize", state.order.length);
    cell.setAttribute("aria-posinset", index + 1);
    cell.classList.toggle("active", index === active);
    dress(cell, state.pictures.get(id));
  }
  const here = state.order[active];
  if (cells.has(here)) grid.setAttribute("aria-activedescendant", `cell-${here}`);
  else grid.removeAttribute("aria-activedescendant");
}

function dress(cell, picture) {
  const selected = String(state.current?.id === picture.id);
  const facts = `${picture.state}|${picture.doubt}|${state.mostDoubt}`;
  if (cell.getAttribute("aria-selected") !== selected) cell.setAttribute("aria-selected", selected);
  if (cell.dataset.facts === facts) return;
  cell.dataset.facts = facts;
  const [sign, words] = SIGNS[picture.state];
  const doubt = picture.state === "found" && picture.doubt !== null ? picture.doubt : null;
  cell.setAttribute("aria-label", `${picture.name}, ${words}${doubt === null ? "" : `, doubt ${doubt.toFixed(2)}`}`);
  cell.title = picture.name;
  const frame = cell.firstChild ?? cell.appendChild(make("div", { className: "frame" }));
  const image = frame.querySelector("img");
  frame.replaceChildren();
  if (picture.state === "bad") frame.append(make("div", { className: "broken", textContent: "cannot be read" }));
  else frame.append(image ?? make("img", { src: api.thumbnail(picture.id), alt: "", draggable: false }));
  if (doubt !== null) {
    const bar = make("i");
    bar.style.width = `${(100 * doubt) / state.mostDoubt}%`;
    frame.append(make("div", { className: "bar" }, bar));
  }
  frame.append(
    make("div", { className: "caption" },
      make("span", { className: "name", textContent: picture.name.split("/").pop() }),
      make("span", { className: `state ${picture.state}`, textContent: sign })),
  );
}

function reveal(index) {
  const { columns, height } = layout();
  const top = Math.floor(index / columns) * height;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
}

function move(index) {
  active = Math.min(Math.max(index, 0), state.order.length - 1);
  reveal(active);
  render();
}

function counts() {
  const number = (kind) => [...state.pictures.values()].filter((picture) => picture.state === kind).length;
  const bad = number("bad");
  $("counts").textContent = `${plural(state.pictures.size, "picture")} · ${number("done")} marked${bad ? ` · ${bad} cannot be read` : ""}`;
  const doubtful = state.sort === "doubt" ? "The orange bars show the doubt. " : "";
  $("grid-says").textContent = `${doubtful}✓ marked  … in part  ◌ found`;
}

export function start() {
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      render();
    });
  };
  grid.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(grid);
  grid.addEventListener("click", (event) => {
    const id = event.target.closest(".cell")?.dataset.id;
    if (!id) return;
    active = state.order.indexOf(id);
    open(id);
  });
  grid.addEventListener("keydown", (event) => {
    const { columns } = layout();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -1e9, End: 1e9 };
    if (event.key in steps) move(active + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") open(state.order[active]);
    else return;
    event.preventDefault();
  });
  $("sort").addEventListener("change", () => {
    state.sort = $("sort").value;
    grid.scrollTop = 0;
    active = 0;
    sortPictures();
  });
  on("pictures", () => {
    soon();
    counts();
  });
  on("summary", () => {
    soon();
    counts();
  });
  on("opened", ({ changed }) => {
    active = Math.max(0, state.order.indexOf(state.current.id));
    if (changed) reveal(active);
    soon();
  });
}
