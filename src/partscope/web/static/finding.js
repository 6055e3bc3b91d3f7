// Find parts: start, progress, cancel, and how the error falls.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { emit, on, open, poll, sortPictures, state } from "./store.js";
import { $, toast } from "./say.js";

async function find() {
  if ($("find").disabled) return;
  $("find").disabled = true; // until the server has answered
  try {
    state.job = await api.post("/find", { anew: $("anew").checked });
    if (state.sort === "name") {
      state.sort = "doubt";
      $("sort").value = "doubt";
      sortPictures();
    }
    emit("job", {});
    hurry();
  } catch (error) {
    toast(error.message);
  }
  show({});
}

function show({ ended } = {}) {
  const job = state.job;
  const running = job.state === "running";
  const marked = [...state.pictures.values()].some((picture) => picture.state === "done");
  $("find").disabled = running || !state.parts.length || (!marked && !state.learned);
  $("cancel").hidden = !running;
  $("progress").hidden = !running;
  if (running && job.total) {
    $("progress").max = job.total;
    $("progress").value = job.done;
  } else $("progress").removeAttribute("value");
  const count = job.total ? ` ${job.done} of ${job.total}` : "";
  const text = running
    ? `${job.what}${count} …`
    : job.state === "none"
      ? ""
      : job.state === "done"
        ? `Done in ${job.seconds.toFixed(1)} s: ${job.what}.`
        : job.what;
  if ($("job").textContent !== text) $("job").textContent = text;
  $("job").classList.toggle("warn", job.state === "failed");
  if (ended && job.state === "done") openMostDoubtful();
}

// After the search the picture that needs a look most is shown, unless one is being worked on.
function openMostDoubtful() {
  const here = state.current && state.pictures.get(state.current.id);
  if (here?.state === "part") return;
  const id = state.order.find((other) => state.pictures.get(other).state === "found");
  if (id) open(id);
}

function history() {
  $("chart-box").hidden = !state.history.length;
  if (state.history.length) $("chart").replaceChildren(...chart(state.history));
}

let timer = 0;

async function tick() {
  clearTimeout(timer);
  try {
    await poll();
  } catch (error) {
    if (error.status) toast(error.message);
  }
  timer = setTimeout(tick, state.job.state === "running" ? 350 : document.hidden ? 5000 : 1500);
}

const hurry = () => {
  clearTimeout(timer);
  timer = setTimeout(tick, 150);
};

export function start() {
  $("find").addEventListener("click", find);
  $("cancel").addEventListener("click", () => api.post("/find/cancel").then(hurry, (error) => toast(error.message)));
  on("find", find);
  on("job", (detail) => show(detail ?? {}));
  on("history", history);
  for (const name of ["pictures", "summary", "parts"]) on(name, () => show());
  document.addEventListener("visibilitychange", hurry);
  show();
  history(); // of before the page was loaded
  tick();
}
