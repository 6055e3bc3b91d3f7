// Marks on their way to the server: sent at once, kept until they have arrived, and merged where another tab was faster.

import * as api from "./api.js";
import { emit, open, partName, state } from "./store.js";
import { $, toast } from "./say.js";

const waiting = new Map(); // id -> {base, mine, revision, busy}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const shelf = () => `partscope:${state.folder}`;

// A three-way merge by part. Where both changed the same part, theirs stays: it is on disk already.
export function merge(base, mine, theirs) {
  const merged = { ...theirs };
  const clashes = [];
  for (const key of new Set([...Object.keys(base), ...Object.keys(mine), ...Object.keys(theirs)])) {
    if (same(mine[key], base[key])) continue;
    if (same(theirs[key], base[key])) {
      if (key in mine) merged[key] = mine[key];
      else delete merged[key];
    } else if (!same(mine[key], theirs[key])) clashes.push(key);
  }
  return { merged, clashes };
}

export function hasUnsaved(id) {
  return id === undefined ? waiting.size > 0 : waiting.has(id);
}

export function setMarks(id, marks) {
  const picture = state.current?.id === id ? state.current : null;
  const entry = waiting.get(id) ?? { base: picture.marks, revision: picture.revision, busy: false };
  entry.mine = marks;
  waiting.set(id, entry);
  if (picture) picture.marks = marks;
  keep();
  emit("marks", id);
  send(id);
}

// Before the undo of a change in a picture that is not open, its marks are fetched.
export async function marksOf(id) {
  if (state.current?.id === id) return state.current.marks;
  await open(id);
  return state.current.marks;
}

async function send(id) {
  const entry = waiting.get(id);
  if (!entry || entry.busy) return;
  entry.busy = true;
  try {
    while (!same(entry.mine, entry.base)) {
      const sent = entry.mine;
      try {
        const answer = await api.put(`/pictures/${id}/marks`, { marks: sent }, entry.revision);
        entry.base = sent;
        entry.revision = answer.revision;
        adopt(id, { revision: answer.revision, state: answer.state });
      } catch (error) {
        if (error.status !== 409 || !error.current) throw error;
        const { merged, clashes } = merge(entry.base, entry.mine, error.current.marks);
        entry.base = error.current.marks;
        entry.mine = merged;
        entry.revision = error.current.revision;
        adopt(id, { revision: entry.revision, marks: merged });
        if (clashes.length) {
          toast(`Another tab has also changed ${clashes.map(partName).join(", ")} of this picture; its marks are shown.`, 10);
        }
      }
    }
    waiting.delete(id);
  } catch (error) {
    if (error.status === 0 || error.status >= 500) setTimeout(() => send(id), 2000);
    else {
      waiting.delete(id); // the server does not take it, and never will
      toast(error.message, 10);
      if (state.current?.id === id) open(id);
    }
  } finally {
    entry.busy = false;
    keep();
  }
}

function adopt(id, news) {
  if (state.current?.id === id) Object.assign(state.current, news);
  const summary = state.pictures.get(id);
  if (summary) {
    summary.revision = news.revision;
    if (news.state) summary.state = news.state;
  }
  emit("marks", id);
  emit("summary", id);
}

// What has not arrived yet survives a reload of the page.
function keep() {
  const rest = [...waiting].map(([id, { base, mine, revision }]) => [id, { base, mine, revision }]);
  try {
    if (rest.length) localStorage.setItem(shelf(), JSON.stringify(rest));
    else localStorage.removeItem(shelf());
  } catch {
    // a browser that keeps nothing
  }
  $("unsaved").hidden = !rest.length;
  $("unsaved").textContent = rest.length ? "Not saved yet …" : "";
}

export function takeUp() {
  let rest = [];
  try {
    rest = JSON.parse(localStorage.getItem(shelf()) || "[]");
  } catch {
    return;
  }
  for (const [id, entry] of rest) {
    if (!state.pictures.has(id)) continue;
    waiting.set(id, { ...entry, busy: false });
    send(id);
  }
}
