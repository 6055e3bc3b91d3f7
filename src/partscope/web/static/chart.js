// A small line chart: the error on the marked pictures, search by search, beside that of the static prior.

import { make, svg } from "./say.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [250, 130, 34, 8, 8, 26];

export function chart(history) {
  const most = Math.max(...history.map((entry) => Math.max(entry.high, entry.prior, entry.error))) * 1.08 || 1;
  const x = (index) => LEFT + ((WIDTH - LEFT - RIGHT) * (history.length === 1 ? 0.5 : index / (history.length - 1)));
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / most;
  const line = (pick) => history.map((entry, index) => `${index ? "L" : "M"}${x(index)} ${y(pick(entry))}`).join("");
  const all = history.length === 1 ? [LEFT, WIDTH - RIGHT] : null; // one search: the prior is a line all the same
  const percent = (value) => value === 0 ? "0 %" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
  const last = history[history.length - 1];
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words(history) });
  for (const value of [0, most / 2, most]) {
    const text = svg("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" });
    text.textContent = percent(value).replace(" ", "");
    picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }), text);
  }
  const upper = history.map((entry, index) => `${index ? "L" : "M"}${x(index)} ${y(entry.high)}`).join("");
  const lower = [...history].reverse().map((entry, index) => `L${x(history.length - 1 - index)} ${y(entry.low)}`).join("");
  picture.append(svg("path", { class: "band", d: `${upper}${lower}Z` }), svg("path", { class: "prior", d: all ? `M${all[0]} ${y(last.prior)}H${all[1]}` : line((e) => e.prior) }), svg("path", { class: "line", d: line((e) => e.error) }));
  history.forEach((entry, index) => {
    picture.append(svg("line", { class: "whisker", x1: x(index), x2: x(index), y1: y(entry.low), y2: y(entry.high) }));
    picture.append(svg("circle", { class: "dot", cx: x(index), cy: y(entry.error), r: 3.5 }));
    if (history.length > 8 && index % Math.ceil(history.length / 6)) return;
    const text = svg("text", { x: x(index), y: HEIGHT - 10, "text-anchor": "middle" });
    text.textContent = entry.pictures;
    picture.append(text);
  });
  const under = make("p", { className: "quiet small", textContent: `${percent(last.error)} of the picture's diagonal with ${last.pictures} marked; without a look at the picture ${percent(last.prior)} (dashed).` });
  return [picture, under];
}

function words(history) {
  const steps = history.map((entry) => `${entry.pictures} marked: ${(100 * entry.error).toFixed(1)} per cent, prior ${(100 * entry.prior).toFixed(1)}`);
  return `Error by number of marked pictures. ${steps.join("; ")}.`;
}
