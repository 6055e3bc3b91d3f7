// A channel's page: the pictures that excite it most.

import * as api from "./api.js";
import { open } from "./store.js";
import { $, make, plural, toast } from "./say.js";

export async function openChannel(layer, channel) {
  try {
    show(await api.get(`/channels/${encodeURIComponent(layer)}/${channel}`));
  } catch (error) {
    toast(error.message);
  }
}

function show(content) {
  const dialog = $("channel-dialog");
  const close = make("button", { type: "button", textContent: "Close", className: "primary" });
  close.addEventListener("click", () => dialog.close());
  const parts = content.parts.length ? ` It is among the strongest of: ${content.parts.join(", ")}.` : "";
  dialog.replaceChildren(
    make("h2", { id: "channel-title", textContent: `Channel ${content.channel} of ${content.layer}` }),
    make("p", { className: "small", textContent: `The pictures that excite it most, of ${plural(content.looked, "picture")} that were looked at (${content.of} are in the folder). The ring shows where.${parts}` }),
    make("ul", { className: "hits" }, ...content.pictures.map((picture) => hit(picture, dialog))),
    make("div", { className: "dialog-foot" }, close),
  );
  dialog.showModal();
}

function hit(picture, dialog) {
  const spot = make("span", { className: "spot" });
  spot.style.left = `${100 * picture.place[0]}%`;
  spot.style.top = `${100 * picture.place[1]}%`;
  const shot = make("button", { type: "button", "aria-label": `Open ${picture.name}` },
    make("span", { className: "shot" }, make("img", { src: api.thumbnail(picture.id), alt: "" }), spot));
  shot.addEventListener("click", () => {
    dialog.close();
    open(picture.id);
  });
  return make("li", {}, shot, make("span", { className: "quiet small", textContent: ` ${picture.value.toFixed(2)}` }));
}
