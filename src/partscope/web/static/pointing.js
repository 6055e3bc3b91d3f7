// Mouse, pen and fingers on the picture: a click sets the chosen part, a mark can be dragged, everything else moves the view.

import { state } from "./store.js";
import { $ } from "./say.js";
import * as viewer from "./viewer.js";

const SLACK = 6; // pixels of the screen that a click may move

export function listen({ set, choose, hover }) {
  const canvas = $("canvas");
  const fingers = new Map();
  let drag = null;
  let space = false;
  let spread = 0;

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    viewer.zoom(Math.exp(-event.deltaY * 0.0016), [event.clientX, event.clientY]);
  }, { passive: false });

  addEventListener("keydown", (event) => {
    if (event.code === "Space" && event.target === canvas) {
      space = true;
      event.preventDefault();
    }
  });
  addEventListener("keyup", (event) => {
    if (event.code === "Space") space = false;
  });

  canvas.addEventListener("pointerdown", (event) => {
    if (!state.current?.size) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    viewer.cursor.shown = false;
    if (fingers.size > 1) {
      drag = null;
      spread = distance([...fingers.values()]);
      return;
    }
    const key = event.target.closest?.(".mark")?.dataset.key;
    drag = { key: space || event.button === 1 ? null : key, panning: space || event.button === 1, from: [event.clientX, event.clientY], moved: false };
  });

  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return hover(event.target.closest?.(".mark")?.dataset.key ?? null);
    const now = [event.clientX, event.clientY];
    fingers.set(event.pointerId, now);
    if (fingers.size > 1) return pinch(last, now);
    if (!drag) return undefined;
    if (!drag.moved && Math.hypot(now[0] - drag.from[0], now[1] - drag.from[1]) < SLACK) return undefined;
    if (!drag.moved && drag.key) choose(drag.key, false);
    drag.moved = true;
    if (drag.key) viewer.draw({ key: drag.key, at: clamped(viewer.toPicture(...now)) });
    else {
      canvas.classList.add("panning");
      viewer.pan(now[0] - last[0], now[1] - last[1]);
    }
    return undefined;
  });

  const up = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    canvas.classList.remove("panning");
    const ended = drag;
    drag = null;
    if (!ended || event.type === "pointercancel") return viewer.draw();
    const at = viewer.toPicture(event.clientX, event.clientY);
    if (ended.moved && ended.key) set(ended.key, clamped(at), "dragged");
    else if (ended.moved || ended.panning || !viewer.inside(at)) return undefined;
    else if (ended.key && ended.key !== state.chosen && !state.armed) choose(ended.key, false);
    else set(state.chosen, at, "clicked");
    return undefined;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);

  function pinch(last, now) {
    const points = [...fingers.values()];
    const wide = distance(points);
    if (spread > 0) viewer.zoom(wide / spread, middle(points));
    spread = wide;
    viewer.pan((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
  }
}

const distance = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

function clamped([x, y]) {
  const [w, h] = state.current.size;
  return [Math.min(Math.max(x, 0), w), Math.min(Math.max(y, 0), h)];
}
