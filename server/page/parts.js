// What a request has beside the form's fields, shown as chips that can be taken away: the picture that it starts from,
// LoRAs, a second pass, and whatever else came with a picture or a file.

import * as api from "./api.js";

const list = document.getElementById("parts");
let kept = {};
let changed = () => {};

export const onChange = (listener) => { changed = listener; };
export const get = () => kept;

/** Replace all parts. */
export function set(parts) {
  kept = { ...parts };
  draw();
}

/** Add or replace some of them. */
export function add(parts) {
  set({ ...kept, ...parts });
  changed();
}

/** Start from a picture, of which ``denoise`` says how much is painted anew. */
export async function startFrom(blob) {
  const { id } = await api.handIn(blob);
  add({ image: id });
}

function described(name, value) {
  if (name === "image") return "Starts from a picture";
  if (name === "mask") return "Mask";
  if (name === "hires") return `Second pass${value.scale ? `, ${value.scale} ×` : ""}`;
  if (name === "upscale") return `Upscaled${value.model ? ` by ${value.model}` : ""}`;
  if (name === "controls") return `ControlNet ${value.map((each) => each.model).join(", ")}`;
  if (name === "regions") return `${value.length} regions`;
  if (name === "a1111") return "AUTOMATIC1111's picture";
  const words = name.replaceAll("_", " ");
  return typeof value === "object" ? words : `${words}: ${value}`;
}

function draw() {
  list.replaceChildren(...Object.entries(kept).flatMap(([name, value]) => (name === "loras" ? value.map((lora, index) =>
    chip(`${lora.name} × ${lora.strength ?? 1}`, () => without(name, index))) : [chip(described(name, value), () => without(name), name === "image" ? value : null)])));
  list.hidden = list.children.length === 0;
}

function without(name, index) {
  const rest = { ...kept };
  const left = index === undefined ? [] : rest[name].filter((_, number) => number !== index);
  if (left.length) rest[name] = left;
  else delete rest[name];
  if (name === "image") delete rest.mask;
  kept = rest;
  draw();
  changed();
}

function chip(words, remove, picture = null) {
  const item = document.createElement("li");
  if (picture && /^[0-9a-f]{64}$/.test(picture)) showPicture(item, picture);
  item.append(Object.assign(document.createElement("span"), { textContent: words }));
  const button = Object.assign(document.createElement("button"), { type: "button", className: "icon" });
  button.setAttribute("aria-label", `Remove: ${words}`);
  button.innerHTML = '<svg aria-hidden="true"><use href="icons.svg#close"/></svg>';
  button.addEventListener("click", remove);
  item.append(button);
  return item;
}

async function showPicture(item, id) {
  try {
    const blob = await (await api.send(`api/v1/inputs/${id}`)).blob();
    item.prepend(Object.assign(document.createElement("img"), { src: URL.createObjectURL(blob), alt: "" }));
  } catch { /* the chip says what it is */ }
}
