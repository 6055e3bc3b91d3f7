// The picture: zoom, pan, cursor, and the marks drawn over it. Sizes on the screen do not change with the zoom.

import * as api from "./api.js";
import { colour } from "./colours.js";
import { state } from "./store.js";
import { $, svg } from "./say.js";

const root = $("svg");
const layers = { picture: svg("g"), map: svg("g"), marks: svg("g"), cursor: svg("g", { class: "cursor" }) };
root.append(layers.picture, layers.map, layers.marks, layers.cursor);

const view = { x: 0, y: 0, scale: 1 };
export const cursor = { x: 0, y: 0, shown: false };
let fitted = true;

const stage = () => $("canvas").getBoundingClientRect();

export function show() {
  const picture = state.current;
  layers.picture.replaceChildren();
  layers.map.replaceChildren();
  if (!picture?.size) return draw();
  const [width, height] = picture.size;
  layers.picture.append(svg("image", { href: api.preview(picture.id), width, height, preserveAspectRatio: "none" }));
  Object.assign(cursor, { x: width / 2, y: height / 2 });
  fit();
}

export function fit() {
  const { width, height } = stage();
  const [w, h] = state.current?.size ?? [1, 1];
  view.scale = Math.min(width / w, height / h) * 0.97;
  view.x = w / 2 - width / 2 / view.scale;
  view.y = h / 2 - height / 2 / view.scale;
  fitted = true;
  place();
}

function place() {
  const { width, height } = stage();
  root.setAttribute("viewBox", `${view.x} ${view.y} ${width / view.scale} ${height / view.scale}`);
  draw();
}

export const isFitted = () => fitted;

export function toPicture(clientX, clientY) {
  const { left, top } = stage();
  return [view.x + (clientX - left) / view.scale, view.y + (clientY - top) / view.scale];
}

export function zoom(factor, at) {
  const { left, top, width, height } = stage();
  const [clientX, clientY] = at ?? [left + width / 2, top + height / 2];
  const [x, y] = toPicture(clientX, clientY);
  const [w] = state.current?.size ?? [1];
  view.scale = Math.min(Math.max(view.scale * factor, (0.3 * width) / w), 60);
  view.x = x - (clientX - left) / view.scale;
  view.y = y - (clientY - top) / view.scale;
  fitted = false;
  place();
}

export function pan(dx, dy) {
  view.x -= dx / view.scale;
  view.y -= dy / view.scale;
  fitted = false;
  place();
}

export function moveCursor(dx, dy) {
  const [w, h] = state.current.size;
  cursor.x = Math.min(Math.max(cursor.x + dx / view.scale, 0), w);
  cursor.y = Math.min(Math.max(cursor.y + dy / view.scale, 0), h);
  cursor.shown = true;
  const { width, height } = stage();
  // The picture follows the cursor over the edge.
  const [sx, sy] = [(cursor.x - view.x) * view.scale, (cursor.y - view.y) * view.scale];
  const over = (at, most) => (at < 12 ? 12 - at : at > most - 12 ? most - 12 - at : 0);
  const [px, py] = [over(sx, width), over(sy, height)];
  if (px || py) pan(px, py);
  else draw();
}

export const inside = ([x, y]) => {
  const [w, h] = state.current?.size ?? [0, 0];
  return x >= 0 && y >= 0 && x <= w && y <= h;
};

// Where a part is drawn: its mark, or else what was found.
export function placeOf(key) {
  const { marks, found } = state.current;
  if (key in marks) return marks[key] ? { at: marks[key], kind: "set" } : null;
  const row = found?.points[key];
  if (!row || !row[3]) return null; // not found, or believed not visible
  return { at: [row[0], row[1]], kind: "found", score: row[2], error: row[4] };
}

export function draw(dragged = null) {
  layers.marks.replaceChildren();
  layers.cursor.replaceChildren();
  if (!state.current?.size) return;
  const unit = 1 / view.scale;
  state.parts.forEach((part, index) => {
    const place = dragged?.key === part.key ? { at: dragged.at, kind: "set" } : placeOf(part.key);
    if (place) layers.marks.append(mark(part, index, place, unit));
  });
  const chosen = layers.marks.querySelector(".chosen");
  if (chosen) layers.marks.append(chosen); // on top
  if (cursor.shown) {
    const lines = "M-16 0H-5M5 0H16M0 -16V-5M0 5V16";
    layers.cursor.setAttribute("transform", `translate(${cursor.x} ${cursor.y}) scale(${unit})`);
    layers.cursor.append(svg("path", { d: lines, class: "under" }), svg("path", { d: lines }));
  }
}

function mark(part, index, { at, kind, score, error }, unit) {
  const chosen = part.key === state.chosen;
  const group = svg("g", {
    class: `mark ${kind}${chosen ? " chosen" : ""}`,
    "data-key": part.key,
    transform: `translate(${at[0]} ${at[1]}) scale(${unit})`,
  });
  // Not wider than the picture: an expected error of half the object says no more than "anywhere".
  if (kind === "found" && error) group.append(svg("circle", { class: "sure", r: Math.min(error / unit, 400) }));
  const faint = kind === "found" ? 0.45 + 0.55 * score : 1;
  group.append(
    svg("circle", { r: 18, fill: "transparent" }), // a finger is wide
    svg("circle", { class: "ring", r: 8 }),
    svg("circle", { class: "core", r: 8, stroke: colour(index), "stroke-opacity": faint }),
    svg("circle", { class: "pip", r: 1.8, fill: colour(index) }),
  );
  const label = svg("text", { x: 12, y: 4 });
  label.textContent = chosen ? `${part.name}${kind === "found" ? ` ${Math.round(100 * score)} %` : ""}` : `${index + 1}`;
  group.append(label);
  return group;
}

export function showMap(address, frame) {
  layers.map.replaceChildren();
  if (!address) return;
  const [x, y, width, height] = frame;
  layers.map.append(svg("image", { href: address, x, y, width, height, preserveAspectRatio: "none", opacity: 0.85 }));
}

new ResizeObserver(() => (fitted ? fit() : place())).observe($("canvas"));
