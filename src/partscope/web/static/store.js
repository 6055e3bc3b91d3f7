// What the page knows: parts, pictures, the picture that is open; and who wants to hear of changes.

import * as api from "./api.js";

export const state = {
  folder: "",
  parts: [], // {key, name}
  pairs: [], // [key, key]
  partsRevision: 0,
  pictures: new Map(), // id -> {id, name, state, doubt, revision, round}
  order: [], // ids as shown
  sort: "name",
  current: null, // the open picture: {id, name, size, marks, revision, found, state}
  chosen: null, // key of the part that is set next
  armed: true, // whether a click on another part's ring sets the chosen part there, instead of choosing the other
  sequence: 0,
  job: { state: "none" },
  history: [],
  learned: 0,
};

const bus = new EventTarget();
export const on = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));

export const partName = (key) => state.parts.find((part) => part.key === key)?.name ?? key;
export const partIndex = (key) => state.parts.findIndex((part) => part.key === key);

export async function loadAll() {
  const [project, list] = await Promise.all([api.get("/project"), api.get("/pictures")]);
  takeParts(project);
  Object.assign(state, { folder: project.folder, history: project.history, job: project.job, learned: project.learned });
  state.sequence = Math.min(project.sequence, list.sequence);
  state.pictures = new Map(list.pictures.map((picture) => [picture.id, picture]));
  sortPictures();
  emit("project");
  emit("job");
  emit("history");
}

export function takeParts(content) {
  state.parts = content.parts;
  state.pairs = content.pairs;
  state.partsRevision = content.revision;
  if (partIndex(state.chosen) < 0) state.chosen = state.parts[0]?.key ?? null;
  emit("parts");
}

// Most doubtful first: what nobody knows the doubt of comes before what is marked already.
const RANK = { found: 0, part: 1, open: 2, done: 3, bad: 4 };
const OPEN = { open: 0, part: 1, found: 2, done: 3, bad: 4 };

export function sortPictures() {
  const all = [...state.pictures.values()];
  state.mostDoubt = all.reduce((most, picture) => Math.max(most, picture.doubt ?? 0), 1e-9);
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  const by = {
    name: byName,
    doubt: (a, b) => RANK[a.state] - RANK[b.state] || (b.doubt ?? -1) - (a.doubt ?? -1) || byName(a, b),
    open: (a, b) => OPEN[a.state] - OPEN[b.state] || byName(a, b),
    done: (a, b) => OPEN[b.state] - OPEN[a.state] || byName(a, b),
  };
  if (state.sort === "name" && all.length > 1500) all.sort((a, b) => (a.name < b.name ? -1 : 1));
  else all.sort(by[state.sort]);
  state.order = all.map((picture) => picture.id);
  emit("pictures");
}

let opening = 0;

export async function open(id) {
  if (!state.pictures.has(id)) return;
  const turn = ++opening;
  const picture = await api.get(`/pictures/${id}`);
  if (turn !== opening) return; // another one was opened meanwhile
  const changed = state.current?.id !== id;
  state.current = picture;
  if (changed) {
    state.chosen = nextOpen() ?? state.parts[0]?.key ?? null;
    state.armed = !picture.found;
  }
  emit("opened", { changed });
}

export function openNeighbour(step) {
  const at = state.order.indexOf(state.current?.id);
  const id = state.order[Math.min(Math.max(at + step, 0), state.order.length - 1)];
  if (id && id !== state.current?.id) return open(id);
  return Promise.resolve();
}

// The next part without a mark, from the chosen one on.
export function nextOpen(after = null) {
  if (!state.current) return null;
  const start = after === null ? 0 : partIndex(after) + 1;
  const turned = [...state.parts.slice(start), ...state.parts.slice(0, start)];
  return turned.find((part) => !(part.key in state.current.marks))?.key ?? null;
}

// By its name or number a part is armed: it was asked for. By its ring it is only looked at.
export function choose(key, armed = true) {
  state.chosen = key;
  state.armed = armed;
  emit("chosen");
}

// Ask the server for what has changed, elsewhere or by the search.
export async function poll() {
  const news = await api.get(`/changes?since=${state.sequence}`);
  state.sequence = news.sequence;
  for (const picture of news.pictures) state.pictures.set(picture.id, picture);
  if (news.pictures.length) sortPictures();
  state.learned = news.learned;
  const job = state.job;
  state.job = news.job;
  emit("job", { ended: job.state === "running" && news.job.state !== "running" });
  if (news.history.length !== state.history.length) {
    state.history = news.history;
    emit("history");
  }
  if (news.parts !== state.partsRevision) takeParts(await api.get("/project"));
  const here = state.current && news.pictures.find((picture) => picture.id === state.current.id);
  if (here) emit("elsewhere", here);
}
