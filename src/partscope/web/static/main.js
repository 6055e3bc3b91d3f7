// The page: load what the server has, and start each part of it.

import * as exporting from "./exporting.js";
import * as finding from "./finding.js";
import * as grid from "./grid.js";
import * as marking from "./marking.js";
import * as parts from "./parts.js";
import * as why from "./why.js";
import { hasUnsaved, takeUp } from "./saving.js";
import { loadAll, on, open, state } from "./store.js";
import { $, toast } from "./say.js";

on("project", () => {
  $("folder").textContent = state.folder;
  document.title = `${state.folder} – partscope`;
});

addEventListener("beforeunload", (event) => {
  if (hasUnsaved()) event.preventDefault();
});

grid.start();
parts.start();
marking.start(why.hover);
why.start();

try {
  await loadAll();
  takeUp();
  if (state.order.length) await open(state.order[0]);
} catch (error) {
  toast(error.message, 3600);
}
finding.start();
exporting.start();
document.documentElement.dataset.ready = "yes";
