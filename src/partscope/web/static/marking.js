// Marking: what clicks, buttons and keys do to the open picture.

import { canRedo, canUndo, change, redo, undo } from "./history.js";
import { hasUnsaved } from "./saving.js";
import { choose, emit, nextOpen, on, open, openNeighbour, partIndex, partName, state } from "./store.js";
import { $, toast } from "./say.js";
import { listen } from "./pointing.js";
import * as viewer from "./viewer.js";

const round = ([x, y]) => [Math.round(x * 100) / 100, Math.round(y * 100) / 100];
const says = (text) => ($("canvas-says").textContent = text);

async function set(key, at, how) {
  const picture = state.current;
  if (!key || !picture?.size) return;
  await change(picture.id, { [key]: at === null || at === undefined ? at : round(at) });
  const what = at === undefined ? "mark taken away" : at === null ? "not visible" : "set";
  // After a correction the same part stays chosen, after a new mark the next open one is.
  if (at !== undefined && how !== "dragged") {
    const next = nextOpen(key);
    if (next) choose(next, !picture.found);
    says(`${partName(key)}: ${what}. ${next ? `Next: ${partName(next)}.` : "Every part is set; Page Down opens the next picture."}`);
  } else says(`${partName(key)}: ${what}.`);
}

async function accept() {
  const picture = state.current;
  if (!picture?.size || !picture.found) return;
  const changes = {};
  for (const { key } of state.parts) {
    if (key in picture.marks) continue;
    const row = picture.found.points[key];
    changes[key] = row && row[3] ? round([row[0], row[1]]) : null;
  }
  if (Object.keys(changes).length) await change(picture.id, changes);
  const at = state.order.indexOf(picture.id);
  const next = [...state.order.slice(at + 1), ...state.order.slice(0, at)].find((id) => state.pictures.get(id).state === "found");
  if (next) await open(next);
  else says("Accepted; there is no other picture with parts that were found.");
}

function step(by) {
  if (!state.parts.length) return;
  const count = state.parts.length;
  choose(state.parts[(partIndex(state.chosen) + by + count) % count].key);
  says(`Chosen: ${partName(state.chosen)}.`);
}

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

function onCanvasKey(event) {
  const arrow = ARROWS[event.key];
  if (!state.current?.size) return;
  if (arrow && event.altKey) viewer.pan(-40 * arrow[0], -40 * arrow[1]);
  else if (arrow) {
    const size = event.shiftKey ? 30 : 3;
    viewer.moveCursor(size * arrow[0], size * arrow[1]);
  } else if (event.key === "Enter") set(state.chosen, [viewer.cursor.x, viewer.cursor.y], "typed");
  else return;
  event.preventDefault();
}

const KEYS = {
  h: () => set(state.chosen, null, "typed"),
  delete: () => set(state.chosen, undefined, "typed"),
  backspace: () => set(state.chosen, undefined, "typed"),
  n: () => step(1),
  p: () => step(-1),
  a: accept,
  u: undo,
  w: () => emit("why"),
  f: () => emit("find"),
  pagedown: () => openNeighbour(1),
  pageup: () => openNeighbour(-1),
  "+": () => viewer.zoom(1.3),
  "=": () => viewer.zoom(1.3),
  "-": () => viewer.zoom(1 / 1.3),
  0: viewer.fit,
  "?": () => $("help").showModal(),
};

function onKey(event) {
  const field = event.target.closest?.("input, select, textarea, dialog");
  if (field || document.querySelector("dialog[open]")) return;
  const control = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (control && key === "z") (event.shiftKey ? redo : undo)();
  else if (control && key === "y") redo();
  else if (control || event.altKey) return;
  else if (KEYS[key]) KEYS[key]();
  else if (/^[1-9]$/.test(key) && state.parts[key - 1]) choose(state.parts[key - 1].key);
  else return;
  event.preventDefault();
}

function refresh() {
  const picture = state.current;
  $("empty").hidden = Boolean(picture?.size);
  $("picture-name").textContent = picture ? picture.name : "No picture";
  const set = picture ? state.parts.filter((part) => part.key in picture.marks).length : 0;
  const doubt = picture?.found?.doubt;
  $("picture-state").textContent = !picture?.size
    ? ""
    : `${set} of ${state.parts.length} parts marked${picture.found && doubt !== null ? ` · doubt ${doubt.toFixed(2)}` : ""}`;
  if (picture && !picture.size) $("empty").textContent = `This picture cannot be read: ${picture.reason ?? ""}`;
  if (!picture) $("empty").textContent = state.pictures.size ? "" : "There is no picture in this folder yet. Drop some here.";
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
  $("hidden").disabled = !picture?.size || !state.chosen;
  $("accept").disabled = !picture?.found || !picture?.size;
  viewer.draw();
}

export function start(hover) {
  listen({ set, choose, hover });
  $("canvas").addEventListener("keydown", onCanvasKey);
  document.addEventListener("keydown", onKey);
  const buttons = {
    previous: () => openNeighbour(-1), next: () => openNeighbour(1), undo, redo, accept,
    "zoom-in": () => viewer.zoom(1.3), "zoom-out": () => viewer.zoom(1 / 1.3), "zoom-fit": viewer.fit,
    hidden: () => set(state.chosen, null, "typed"), "help-open": () => $("help").showModal(),
  };
  for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", action);
  on("opened", ({ changed }) => {
    if (changed) {
      viewer.show();
      says("");
    }
    refresh();
  });
  for (const name of ["marks", "chosen", "parts", "undoable"]) on(name, refresh);
  // Another tab has marked the open picture, or the search has found something in it.
  on("elsewhere", async (summary) => {
    const news = summary.revision !== state.current.revision || summary.round !== (state.current.found?.round ?? 0) || summary.state === "bad";
    if (!news || hasUnsaved(summary.id)) return;
    const before = state.current.revision;
    await open(summary.id);
    if (summary.revision > before) toast("This picture was marked in another tab; you see what it has now.");
  });
  refresh();
}
