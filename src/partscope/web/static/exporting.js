// What leaves the page, and pictures that come in.

import * as api from "./api.js";
import { on, open, sortPictures, state } from "./store.js";
import { $, make, plural, toast } from "./say.js";

let offered = [];

async function offer() {
  try {
    offered = (await api.get("/exports")).exports;
  } catch {
    return; // asked again after the next search
  }
  const chosen = $("export-what").value;
  $("export-what").replaceChildren(...offered.map((one) => make("option", { value: one.name, textContent: one.title })));
  if (offered.some((one) => one.name === chosen)) $("export-what").value = chosen;
  explain();
}

function explain() {
  $("export-note").textContent = offered.find((one) => one.name === $("export-what").value)?.what ?? "";
}

async function save(event) {
  event.preventDefault();
  try {
    const { name, lost } = await api.download(`/exports/${encodeURIComponent($("export-what").value)}`);
    toast(`Saved ${name}.`);
    for (const sentence of lost) toast(sentence, 12);
  } catch (error) {
    toast(error.message, 10);
  }
}

async function add(files) {
  let added = 0;
  let first = null;
  for (const file of files) {
    try {
      const answer = await api.upload(file.name, file);
      for (const picture of answer.new) {
        state.pictures.set(picture.id, picture);
        first ??= picture.id;
        added += 1;
      }
    } catch (error) {
      toast(`${file.name}: ${error.message}`, 10);
    }
  }
  if (!added) return;
  sortPictures();
  toast(`Added ${plural(added, "picture")}.`);
  if (!state.current) open(first);
}

export function start() {
  $("export-what").addEventListener("change", explain);
  $("export-go").addEventListener("click", save);
  $("upload").addEventListener("change", () => {
    add([...$("upload").files]);
    $("upload").value = "";
  });
  let depth = 0;
  const shown = (visible) => ($("drop").hidden = !visible);
  addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth += 1;
    shown(true);
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    shown(depth > 0);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    shown(false);
    add([...(event.dataTransfer?.files ?? [])]);
  });
  on("job", (detail) => detail?.ended && offer());
  offer();
}
