// Undo and redo of marks, over all pictures.

import { marksOf, setMarks } from "./saving.js";
import { emit } from "./store.js";

const done = [];
const undone = [];

// Change some parts of a picture: changes maps keys to [x, y], null (not visible) or undefined (no mark).
export async function change(id, changes) {
  const marks = await marksOf(id);
  const before = Object.fromEntries(Object.keys(changes).map((key) => [key, marks[key]]));
  done.push({ id, before, after: changes });
  undone.length = 0;
  apply(id, marks, changes);
}

function apply(id, marks, changes) {
  const next = { ...marks };
  for (const [key, point] of Object.entries(changes)) {
    if (point === undefined) delete next[key];
    else next[key] = point;
  }
  setMarks(id, next);
  emit("undoable");
}

async function step(from, to, side) {
  const entry = from.pop();
  if (!entry) return;
  to.push(entry);
  apply(entry.id, await marksOf(entry.id), entry[side]);
}

export const undo = () => step(done, undone, "before");
export const redo = () => step(undone, done, "after");
export const canUndo = () => done.length > 0;
export const canRedo = () => undone.length > 0;
