// One picture, large: previous and next by keys and swipe, zoom, full screen, its facts, and what to do with it. Each
// picture has a URL of its own, so that Back closes the viewer and a link opens it.

import * as api from "./api.js";
import * as facts from "./facts.js";
import * as gallery from "./gallery.js";
import * as selection from "./selection.js";
import * as stars from "./stars.js";
import { copy } from "./menu.js";
import { complain } from "./notices.js";

const $ = (id) => document.getElementById(id);
const viewer = $("viewer");
const canvas = $("viewer-canvas");
const QUERY = "picture";
const SWIPE = 50; // pixels

let shown = null; // { job, number, name }
let listeners = { use() {}, startFrom() {}, larger() {} };

export function start(told) {
  listeners = told;
  addEventListener("popstate", () => openFromUrl().catch(() => {}));
  openFromUrl().catch(complain);
}

/** Show a picture. */
export function open(item, replace = viewer.open) {
  const url = new URL(location);
  url.searchParams.set(QUERY, `${item.job.id}.${item.number}`);
  if (replace) history.replaceState({ ...history.state }, "", url);
  else history.pushState({ viewer: true }, "", url);
  show(item);
}

async function openFromUrl() {
  const found = /^(.+)\.(\d+)$/.exec(new URL(location).searchParams.get(QUERY) ?? "");
  if (!found) return void (viewer.open && viewer.close());
  const [, id, number] = found;
  const job = gallery.find(id, Number(number))?.job ?? await api.job(id).catch(() => null);
  if (job?.images[number]) show(gallery.itemOf(job, Number(number)));
  else close();
}

function close() {
  if (history.state?.viewer) return history.back(); // which closes it
  const url = new URL(location);
  url.searchParams.delete(QUERY);
  history.replaceState(null, "", url);
  if (viewer.open) viewer.close();
}

function show(item) {
  shown = item;
  const made = item.job.images[item.number];
  const picture = $("viewer-picture");
  zoom(false);
  picture.src = api.address(made);
  picture.alt = item.job.parameters?.prompt ?? "Picture";
  picture.width = made.width;
  picture.height = made.height;
  const save = $("viewer-save");
  save.href = api.address(made);
  save.download = facts.fileName(item);
  facts.write($("viewer-facts"), item);
  showStar();
  strip(item);
  for (const id of ["viewer-use", "viewer-prompt", "viewer-larger"]) $(id).hidden = !item.job.parameters;
  if (!viewer.open) viewer.showModal();
  const [before, after] = [neighbour(-1), neighbour(1)];
  $("viewer-before").disabled = !before;
  $("viewer-after").disabled = !after && $("more").hidden;
  for (const other of [before, after]) if (other) new Image().src = api.address(other.job.images[other.number]);
}

const index = () => gallery.all().findIndex((item) => item.name === shown.name);
const neighbour = (step) => (index() < 0 ? null : gallery.all()[index() + step]);

async function go(step) {
  let other = neighbour(step);
  if (!other && step > 0 && await gallery.next()) other = neighbour(step);
  if (other) open(other, true);
}

function strip(item) {
  const { images } = item.job;
  $("viewer-strip").hidden = images.length < 2;
  $("viewer-strip").replaceChildren(...(images.length < 2 ? [] : images.map((made, number) => {
    const entry = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.setAttribute("aria-label", `Picture ${number + 1}, seed ${made.seed}`);
    if (number === item.number) button.setAttribute("aria-current", "true");
    button.append(Object.assign(new Image(), { src: api.thumbnail(made, 128), alt: "" }));
    button.addEventListener("click", () => open(gallery.itemOf(item.job, number), true));
    entry.append(button);
    return entry;
  })));
}

function zoom(on = !canvas.classList.contains("zoomed"), event = null) {
  const picture = $("viewer-picture");
  const place = event ? [event.offsetX / picture.clientWidth, event.offsetY / picture.clientHeight] : [0.5, 0.5];
  canvas.classList.toggle("zoomed", on);
  $("viewer-zoom").setAttribute("aria-pressed", String(on));
  if (on) canvas.scrollTo(place[0] * picture.clientWidth - canvas.clientWidth / 2, place[1] * picture.clientHeight - canvas.clientHeight / 2);
}

const fullScreen = () => (document.fullscreenElement ? document.exitFullscreen() : viewer.requestFullscreen()).catch(() => {});
const showStar = () => $("viewer-star").setAttribute("aria-pressed", String(stars.has(shown.name)));
const star = () => { stars.toggle(shown.name); showStar(); };

async function erase() {
  const gone = shown;
  const other = neighbour(1) ?? neighbour(-1);
  if (!await selection.erase([gone])) return;
  if (other && gallery.all().some((item) => item.name === other.name)) open(gallery.all().find((item) => item.name === other.name), true);
  else close();
}

const leave = (run) => () => { close(); run(); };
$("viewer-use").addEventListener("click", leave(() => listeners.use(facts.parametersOf(shown))));
$("viewer-prompt").addEventListener("click", leave(() => {
  const { prompt, negative_prompt } = shown.job.parameters;
  listeners.use({ prompt, negative_prompt }, true);
}));
$("viewer-seed").addEventListener("click", leave(() => listeners.use({ seed: shown.job.images[shown.number].seed }, true)));
$("viewer-start").addEventListener("click", leave(() => listeners.startFrom(shown)));
$("viewer-larger").addEventListener("click", leave(() => listeners.larger(facts.parametersOf(shown))));
$("viewer-copy").addEventListener("click", () => facts.line(shown).then((text) => copy(text, "Parameters"), complain));
$("viewer-delete").addEventListener("click", erase);
$("viewer-star").addEventListener("click", star);
$("viewer-zoom").addEventListener("click", () => zoom());
$("viewer-full").addEventListener("click", fullScreen);
$("viewer-close").addEventListener("click", close);
$("viewer-before").addEventListener("click", () => go(-1));
$("viewer-after").addEventListener("click", () => go(1));
$("viewer-picture").addEventListener("click", (event) => zoom(undefined, event));
viewer.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
viewer.addEventListener("click", (event) => { if (event.target === viewer || event.target === canvas) close(); });

const KEYS = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), z: () => zoom(), f: fullScreen, s: star, Delete: erase };
document.addEventListener("keydown", (event) => {
  const run = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const another = document.querySelector("dialog[open]:not(#viewer)");
  if (!run || !viewer.open || another || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  run();
});

let touch = null;
canvas.addEventListener("touchstart", (event) => { touch = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
canvas.addEventListener("touchend", (event) => {
  if (!touch || canvas.classList.contains("zoomed")) return;
  const [across, down] = [event.changedTouches[0].clientX - touch.clientX, event.changedTouches[0].clientY - touch.clientY];
  if (Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(down)) go(across < 0 ? 1 : -1);
}, { passive: true });
