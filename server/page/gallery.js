// The pictures made so far, newest first: tiles, search, and what the viewer goes through. Knows no dialog.

import * as api from "./api.js";
import * as stars from "./stars.js";

const $ = (id) => document.getElementById(id);
const list = $("gallery");
const PAGE = 24; // jobs
const WIDTH = 384; // of a thumbnail, for screens with two dots a pixel
const DAY = 86400;

let items = []; // { job, number, name, tile }
let offset = 0;
let looked = 0; // the number of the latest search
let listeners = { opened() {}, latest() {} };
const counted = new Set(); // jobs that are listed

/** Show what there is; ``opened(item)`` when a person wants to see a picture, ``latest(job)`` the newest job once. */
export async function start(told) {
  listeners = told;
  await search();
  if (items.length) listeners.latest(items[0].job);
}

export const all = () => items.filter((item) => !item.tile.hidden);
export const find = (id, number) => items.find((item) => item.job.id === id && item.number === number);
export const itemOf = (job, number) => ({ job, number, name: api.nameOf(job.images[number]) });

/** Put the pictures of a job in front: those that are there while it runs, all when it is done. */
export function add(job) {
  if (isSearch() || (counted.has(job.id) && job.state !== "succeeded")) return; // an answer from before its end came late
  if (job.state === "succeeded" && !counted.has(job.id)) {
    counted.add(job.id);
    offset += 1;
  }
  const there = new Set(job.images.map(api.nameOf));
  for (const item of items.filter((each) => each.job.id === job.id)) {
    if (there.has(item.name)) Object.assign(item, itemOf(job, job.images.findIndex((made) => api.nameOf(made) === item.name)));
    else drop(item);
  }
  const shown = new Set(items.map((item) => item.name));
  const fresh = made(job).filter((item) => !shown.has(item.name));
  items.unshift(...fresh);
  list.prepend(...fresh.map((item) => item.tile));
  showState();
}

/** Take away a picture that was deleted; ``left`` is its job as it is now. */
export function remove(item, left) {
  const found = items.find((each) => each.name === item.name);
  if (found) drop(found);
  for (const other of items.filter((each) => each.job.id === left.id)) {
    Object.assign(other, itemOf(left, left.images.findIndex((made) => api.nameOf(made) === other.name)));
  }
  if (left.deleted && counted.delete(left.id)) offset -= 1;
  showState();
}

function drop(item) {
  item.tile.remove();
  items = items.filter((each) => each !== item);
}

const isSearch = () => $("search").value.trim() !== "" || $("since").value !== "";

async function search() {
  const mine = looked += 1;
  offset = 0;
  const jobs = await page();
  if (mine !== looked) return;
  items = [];
  counted.clear();
  list.replaceChildren();
  append(jobs);
}

async function page() {
  const query = { state: "succeeded", limit: PAGE, offset, query: $("search").value.trim() };
  if ($("since").value) query.created_from = Date.now() / 1000 - DAY * Number($("since").value);
  return (await api.jobs(query)).jobs;
}

function append(jobs) {
  offset += jobs.length;
  for (const job of jobs) counted.add(job.id);
  const shown = new Set(items.map((item) => item.name));
  const fresh = jobs.flatMap(made).filter((item) => !shown.has(item.name));
  items.push(...fresh);
  list.append(...fresh.map((item) => item.tile));
  $("more").hidden = jobs.length < PAGE;
  showState();
  return fresh;
}

/** Read one more page, and return whether there was any. */
export async function next() {
  if ($("more").hidden) return false;
  const fresh = append(await page());
  return fresh.length > 0;
}

function showState() {
  const starred = $("starred").getAttribute("aria-pressed") === "true";
  for (const item of items) {
    item.tile.classList.toggle("starred", stars.has(item.name));
    item.tile.hidden = starred && !stars.has(item.name);
  }
  $("gallery-empty").textContent = isSearch() || starred ? "No picture fits." : "Pictures that you make are kept here.";
  $("gallery-empty").hidden = all().length > 0;
}
stars.onChange(showState);

const made = (job) => job.images.map((_, number) => tiled(itemOf(job, number)));

function tiled(item) {
  const { job } = item;
  const picture = job.images[item.number];
  item.tile = document.createElement("li");
  item.tile.dataset.name = item.name;
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const image = Object.assign(document.createElement("img"), { src: api.thumbnail(picture, WIDTH), loading: "lazy", decoding: "async", width: picture.width, height: picture.height });
  image.alt = `${job.parameters?.prompt || "Picture"}, seed ${picture.seed}`;
  button.append(image);
  button.addEventListener("click", (event) => listeners.opened(item, event));
  item.tile.append(button);
  return item;
}

$("more").addEventListener("click", async () => {
  const count = items.length;
  await next();
  if ($("more").hidden) items[count]?.tile.querySelector("button").focus();
});
let timer = 0;
$("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => search().catch(() => {}), 250);
});
$("since").addEventListener("change", () => search().catch(() => {}));
$("starred").addEventListener("click", () => {
  $("starred").setAttribute("aria-pressed", String($("starred").getAttribute("aria-pressed") !== "true"));
  showState();
});
