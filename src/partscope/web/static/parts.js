// The list of parts, and the dialog that names them and their symmetric pairs.

import * as api from "./api.js";
import { colour } from "./colours.js";
import { choose, on, state, takeParts } from "./store.js";
import { $, make, plural } from "./say.js";

function list() {
  $("parts-none").hidden = state.parts.length > 0;
  $("parts-edit").textContent = state.parts.length ? "Edit" : "Name parts";
  $("parts-edit").classList.toggle("primary", !state.parts.length);
  $("parts").replaceChildren(...state.parts.map(row));
  const done = [...state.pictures.values()].filter((picture) => picture.state === "done").length;
  $("marked-note").textContent = !state.parts.length
    ? ""
    : done < 5
      ? `${plural(done, "picture")} marked; five to ten are a good start. A picture counts when every part is set.`
      : `${plural(done, "picture")} marked.`;
}

function row(part, index) {
  const dot = make("span", { className: "dot" });
  dot.style.background = colour(index);
  const button = make("button", { type: "button" },
    make("span", { className: "number", textContent: index + 1 }), dot,
    make("span", { className: "name", textContent: part.name }),
    make("span", { className: "how", textContent: how(part.key) }));
  button.setAttribute("aria-pressed", String(part.key === state.chosen));
  button.addEventListener("click", () => choose(part.key));
  return make("li", {}, button);
}

function how(key) {
  const picture = state.current;
  if (!picture?.size) return "";
  if (key in picture.marks) return picture.marks[key] ? "marked" : "not visible";
  const found = picture.found?.points[key];
  if (!found) return picture.found ? "not found" : "";
  return found[3] ? `${Math.round(100 * found[2])} %` : `hidden, ${Math.round(100 - 100 * found[2])} %`;
}

// -- the dialog ------------------------------------------------------------------------------------------------------
let rows = []; // {key, name, partner (index or null)}

function edit() {
  rows = state.parts.map((part) => ({ key: part.key, name: part.name, partner: null }));
  for (const [a, b] of state.pairs) {
    const [i, j] = [a, b].map((key) => rows.findIndex((entry) => entry.key === key));
    [rows[i].partner, rows[j].partner] = [rows[j], rows[i]];
  }
  if (!rows.length) rows = [{ key: null, name: "", partner: null }];
  drawDialog();
  $("parts-dialog").showModal();
  $("parts-dialog").querySelector("input").focus();
}

function drawDialog(error = "") {
  const several = make("input", { type: "text", id: "several", placeholder: "beak, left eye, right eye, tail" });
  const add = make("button", { type: "button", textContent: "Add" });
  const take = () => {
    const names = several.value.split(/[,;\n]/).map((name) => name.trim()).filter(Boolean);
    rows = rows.filter((entry) => entry.name.trim()).concat(names.map((name) => ({ key: null, name, partner: null })));
    guess();
  };
  add.addEventListener("click", take);
  several.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    take();
  });
  const buttons = [
    ["Guess pairs", "lead", guess], ["Cancel", "", () => $("parts-dialog").close()], ["Save parts", "primary", save],
  ].map(([text, className, action]) => {
    const button = make("button", { type: "button", textContent: text, className });
    button.addEventListener("click", action);
    return button;
  });
  $("parts-dialog").replaceChildren(
    make("h2", { id: "parts-dialog-title", textContent: "Parts" }),
    make("p", { className: "quiet small", textContent: "In the order in which you mark them. A symmetric pair is told apart by its sides: name them, or choose them here." }),
    make("div", {}, ...rows.map(dialogRow)),
    make("label", { htmlFor: "several", className: "field", textContent: "More parts, separated by commas" }),
    make("div", { className: "part-row" }, make("span"), several, add),
    make("p", { className: "error", role: "alert", textContent: error }),
    make("div", { className: "dialog-foot" }, ...buttons),
  );
}

function dialogRow(entry, index) {
  const dot = make("span", { className: "dot" });
  dot.style.background = colour(index);
  const name = make("input", { type: "text", value: entry.name, maxLength: 60, "aria-label": `Name of part ${index + 1}` });
  name.addEventListener("input", () => (entry.name = name.value));
  const partner = make("select", { "aria-label": `Partner of part ${index + 1}` });
  partner.append(make("option", { value: "", textContent: "no partner" }));
  rows.forEach((other, at) => {
    if (other !== entry) partner.append(make("option", { value: at, textContent: `↔ ${other.name || `part ${at + 1}`}`, selected: entry.partner === other }));
  });
  partner.addEventListener("change", () => {
    if (entry.partner) entry.partner.partner = null;
    entry.partner = rows[partner.value] ?? null;
    if (entry.partner) {
      if (entry.partner.partner) entry.partner.partner.partner = null;
      entry.partner.partner = entry;
    }
    drawDialog();
  });
  const remove = make("button", { type: "button", textContent: "✕", "aria-label": `Remove part ${index + 1}` });
  remove.addEventListener("click", () => {
    if (entry.partner) entry.partner.partner = null;
    rows.splice(index, 1);
    drawDialog();
  });
  return make("div", { className: "part-row" }, dot, name, partner, remove);
}

async function guess() {
  try {
    const { pairs } = await api.post("/parts/guess", { names: rows.map((entry) => entry.name) });
    for (const entry of rows) entry.partner = null;
    for (const [i, j] of pairs) [rows[i].partner, rows[j].partner] = [rows[j], rows[i]];
    drawDialog();
    $("several").focus();
  } catch (error) {
    drawDialog(error.message);
  }
}

async function save() {
  const typed = $("several").value.trim();
  if (typed) rows = rows.concat(typed.split(/[,;\n]/).map((name) => ({ key: null, name: name.trim(), partner: null })));
  const kept = rows.filter((entry) => entry.name.trim());
  const gone = state.parts.filter((part) => !kept.some((entry) => entry.key === part.key));
  if (gone.length && !confirm(`Take away ${gone.map((part) => part.name).join(", ")}, with what was found for all parts?`)) return;
  const pairs = kept.flatMap((entry, index) => {
    const other = entry.partner ? kept.indexOf(entry.partner) : -1;
    return other > index ? [[index, other]] : [];
  });
  try {
    takeParts(await api.put("/parts", { parts: kept.map(({ key, name }) => ({ key, name })), pairs }, state.partsRevision));
    $("parts-dialog").close();
  } catch (error) {
    if (error.current) {
      takeParts(error.current);
      edit();
    }
    drawDialog(error.message);
  }
}

export function start() {
  $("parts-edit").addEventListener("click", edit);
  for (const name of ["parts", "chosen", "opened", "marks", "pictures", "summary"]) on(name, list);
}
