// Why here? The evidence of a part over the picture, the channels behind it, and other ways to the same part.

import * as api from "./api.js";
import { openChannel } from "./channel.js";
import { emit, on, partName, state } from "./store.js";
import { $, make, svg, toast } from "./say.js";
import * as viewer from "./viewer.js";

let shown = false;
let shownFor = "";
let timer = 0;
let version = 0; // maps of an older search have other addresses

const address = (id, key, file) => `/api/why/${id}/${key}${file}`;

async function explain(key) {
  const picture = state.current;
  const wanted = `${picture?.id}|${key}|${version}`;
  if (!shown || !picture?.size || !key || wanted === shownFor) return;
  shownFor = wanted;
  try {
    const why = await api.get(address(picture.id, key, "").slice(4));
    if (shownFor !== wanted) return;
    viewer.showMap(address(picture.id, key, `/evidence.png?v=${version}`), why.frame);
    panel(picture, key, why);
  } catch (error) {
    if (shownFor !== wanted) return;
    viewer.showMap(null);
    $("why").replaceChildren(make("h2", { id: "why-title", textContent: "Why here?" }), make("p", { textContent: error.message }));
  }
}

function panel(picture, key, why) {
  const score = why.point ? `found with a score of ${Math.round(100 * why.score)} %` : "not found";
  const channels = make("div", { className: "channels" }, ...why.channels.map((one, index) => {
    const strength = one.strength === null ? "" : `${one.strength < 0 ? "−" : "+"}${Math.abs(one.strength).toFixed(Math.abs(one.strength) < 1 ? 3 : 1)}`;
    const button = make("button", { type: "button" },
      make("span", { textContent: `channel ${one.channel}` }),
      make("span", { className: "quiet small", textContent: `${one.layer} ${strength}` }));
    const map = () => viewer.showMap(address(picture.id, key, `/channel-${index}.png?v=${version}`), why.frame);
    button.addEventListener("pointerenter", map);
    button.addEventListener("focus", map);
    button.addEventListener("pointerleave", () => viewer.showMap(address(picture.id, key, `/evidence.png?v=${version}`), why.frame));
    button.addEventListener("click", () => openChannel(one.layer, one.channel));
    return button;
  }));
  const ways = make("div", { className: "ways" });
  const compare = make("button", { type: "button", textContent: "Compare with single channels" });
  compare.addEventListener("click", () => {
    compare.disabled = true;
    compare.textContent = "Computing the gradient …";
    showWays(picture, key, ways).finally(() => compare.remove());
  });
  $("why").replaceChildren(
    make("h2", { id: "why-title", textContent: `Why here? ${partName(key)}` }),
    make("p", { className: "small", textContent: `The light places of the map speak for the ${partName(key)}, ${score}. Its strongest channels; one with − speaks against it. Point at one to see what it adds, or open it.` }),
    channels, compare, ways,
  );
}

async function showWays(picture, key, box) {
  try {
    const { ways } = await api.get(address(picture.id, key, "/ways").slice(4));
    const [width, height] = picture.size;
    box.replaceChildren(...ways.map((way) => {
      const pane = make("div", { className: "pane" });
      pane.style.aspectRatio = `${width} / ${height}`;
      pane.append(
        make("img", { src: api.thumbnail(picture.id), alt: "" }),
        make("img", { src: address(picture.id, key, `/way-${way.name}.png?v=${version}`), alt: `Map: ${way.title}` }));
      if (way.point) {
        const cross = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
        const radius = 0.035 * Math.max(width, height);
        for (const [stroke, wide] of [["#000", 3], ["#fff", 1.4]]) {
          cross.append(svg("circle", { cx: way.point[0], cy: way.point[1], r: radius, fill: "none", stroke, "stroke-width": (wide * width) / 200 }));
        }
        pane.append(cross);
      }
      return make("div", { className: "way" }, pane, make("h3", { textContent: way.title }), make("p", { className: "quiet small", textContent: way.note }));
    }));
  } catch (error) {
    toast(error.message);
  }
}

function toggle() {
  shown = !shown;
  $("why-open").setAttribute("aria-pressed", String(shown));
  $("why").hidden = !shown;
  shownFor = "";
  if (!shown) {
    viewer.showMap(null);
    $("why").replaceChildren();
  } else if (!state.current) {
    $("why").replaceChildren(make("h2", { id: "why-title", textContent: "Why here?" }), make("p", { textContent: "Open a picture first." }));
  } else explain(state.chosen);
}

// Called as the pointer moves over the marks.
export function hover(key) {
  clearTimeout(timer);
  if (shown && key) timer = setTimeout(() => explain(key), 150);
}

export function start() {
  $("why-open").addEventListener("click", () => emit("why"));
  on("why", toggle);
  on("chosen", () => explain(state.chosen));
  on("opened", ({ changed }) => {
    if (changed) shownFor = "";
    explain(state.chosen);
  });
  on("job", (detail) => {
    if (!detail?.ended) return;
    version += 1;
    explain(state.chosen);
  });
}
