// Several pictures at a time: choose tiles, then compare two, save them as a ZIP, or delete them.

import * as api from "./api.js";
import * as gallery from "./gallery.js";
import * as stars from "./stars.js";
import { fileName } from "./facts.js";
import { sure } from "./menu.js";
import { complain, tell } from "./notices.js";
import { zipped } from "./zip.js";

const $ = (id) => document.getElementById(id);
const chosen = new Map(); // name → item
let last = null; // the item that was chosen last, from where Shift chooses a row
let deleted = () => {};

export const onDeleted = (listener) => { deleted = listener; };
export const isOn = () => !$("selection").hidden;

/** Choose a picture, or let it go; with Shift all from the last one on. */
export function choose(item, shift) {
  const all = gallery.all();
  const [from, to] = [all.indexOf(last), all.indexOf(item)].sort((one, other) => one - other);
  const row = shift && from >= 0 ? all.slice(from, to + 1) : [item];
  const add = row.length > 1 || !chosen.has(item.name);
  for (const each of row) {
    if (add) chosen.set(each.name, each);
    else chosen.delete(each.name);
    mark(each);
  }
  last = item;
  show();
}

function mark(item) {
  item.tile.classList.toggle("chosen", chosen.has(item.name));
  item.tile.querySelector("button").setAttribute("aria-pressed", String(chosen.has(item.name)));
}

function turn(on) {
  $("selection").hidden = !on;
  $("select").setAttribute("aria-pressed", String(on));
  $("select").textContent = on ? "Done" : "Select";
  const were = [...chosen.values()];
  if (!on) chosen.clear();
  for (const item of on ? gallery.all() : were) mark(item);
  if (!on) for (const button of document.querySelectorAll("#gallery button")) button.removeAttribute("aria-pressed");
  show();
}

function show() {
  $("selected").textContent = chosen.size ? `${chosen.size} selected` : "Choose pictures; Shift chooses a row";
  $("compare").disabled = chosen.size !== 2;
  $("zip").disabled = $("delete").disabled = chosen.size === 0;
}

/** Delete pictures after asking, and return whether a person was sure. */
export async function erase(items) {
  if (!await sure(items.length === 1 ? "Delete this picture?" : `Delete ${items.length} pictures?`)) return false;
  try {
    for (const item of items) {
      const left = await api.deletePicture(item.job.id, item.job.images[item.number]).catch((error) => {
        if (error.status === 404) return { ...item.job, images: item.job.images, deleted: false }; // it is gone already
        throw error;
      });
      gallery.remove(item, left);
      stars.forget(item.name);
      chosen.delete(item.name);
      deleted(item, left);
    }
    tell(items.length === 1 ? "Picture deleted" : `${items.length} pictures deleted`);
  } catch (error) {
    complain(error);
  }
  show();
  return true;
}

export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("select").addEventListener("click", () => turn(!isOn()));
$("delete").addEventListener("click", () => erase([...chosen.values()]));
$("zip").addEventListener("click", async () => {
  $("zip").disabled = true;
  try {
    const files = [];
    for (const item of chosen.values()) {
      const picture = item.job.images[item.number];
      files.push([fileName(item), new Uint8Array(await (await api.send(api.address(picture))).arrayBuffer())]);
    }
    save(zipped(files), `pictures_${new Date().toISOString().slice(0, 10)}.zip`);
  } catch (error) {
    complain(error);
  }
  show();
});
$("compare").addEventListener("click", () => {
  $("compared-pictures").replaceChildren(...[...chosen.values()].map((item) => {
    const figure = document.createElement("figure");
    const picture = item.job.images[item.number];
    const words = `seed ${picture.seed}, ${item.job.parameters?.steps ?? "?"} steps, ${item.job.model}`;
    figure.append(Object.assign(new Image(), { src: api.address(picture), alt: item.job.parameters?.prompt ?? "" }), Object.assign(document.createElement("figcaption"), { textContent: words }));
    return figure;
  }));
  $("compared").showModal();
});
show();
