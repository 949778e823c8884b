// The pictures made so far, newest first, and the dialog that shows one with its parameters.

import * as api from "./api.js";

const list = document.getElementById("gallery");
const nothing = document.getElementById("gallery-empty");
const more = document.getElementById("more");
const viewer = document.getElementById("viewer");
const PAGE = 24;
const SHOWN = ["model", "seed", "width", "height", "steps", "cfg_scale", "sampler", "scheduler", "batch_size", "denoise", "clip_skip", "prompt_syntax"];

let offset = 0;
let opened = null;
const known = new Set(); // pictures
const counted = new Set(); // jobs that are done

/** Show what there is; ``onUse(parameters)`` when a person wants a picture's parameters. */
export async function start(onUse) {
  document.getElementById("viewer-use").addEventListener("click", () => {
    viewer.close();
    onUse(opened);
  });
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  more.addEventListener("click", next);
  await next();
}

/** Put the pictures of a job in front: those that are there while it runs, all when it is done, none if it failed. */
export function add(job) {
  if (job.state === "failed" || job.state === "cancelled") {
    for (const tile of list.querySelectorAll(`li[data-job="${CSS.escape(job.id)}"]`)) tile.remove();
  } else {
    if (job.state === "succeeded" && !counted.has(job.id)) offset += 1;
    if (job.state === "succeeded") counted.add(job.id);
    list.prepend(...tiles(job));
  }
  nothing.hidden = list.children.length > 0;
}

export function open(job, number) {
  const made = job.images[number];
  opened = { ...(job.parameters ?? {}), seed: made.seed, width: made.width, height: made.height };
  delete opened.count;
  const address = api.address(made);
  const picture = document.getElementById("viewer-picture");
  picture.src = address;
  picture.alt = job.parameters?.prompt;
  document.getElementById("viewer-link").href = address;
  const save = document.getElementById("viewer-save");
  save.href = address;
  save.download = address.split("/").pop();
  document.getElementById("viewer-facts").replaceChildren(
    ...fact("prompt", opened.prompt, "words"),
    ...fact("negative prompt", opened.negative_prompt, "words"),
    ...SHOWN.flatMap((name) => fact(name.replace("_", " "), opened[name])),
    ...fact("made", new Date(1000 * (job.finished ?? job.created)).toLocaleString()),
  );
  viewer.showModal();
}

async function next() {
  const answer = await api.jobs({ state: "succeeded", limit: PAGE, offset });
  const jobs = answer.jobs;
  offset += jobs.length;
  for (const job of jobs) counted.add(job.id);
  list.append(...jobs.flatMap(tiles));
  more.hidden = jobs.length < PAGE;
  nothing.hidden = list.children.length > 0;
}

function tiles(job) {
  return job.images.flatMap((made, number) => {
    if (known.has(made.url)) return [];
    known.add(made.url);
    const item = document.createElement("li");
    item.dataset.job = job.id;
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const image = Object.assign(document.createElement("img"), { src: api.address(made), alt: job.parameters?.prompt, loading: "lazy" });
    button.append(image);
    button.addEventListener("click", () => open(job, number));
    item.append(button);
    return item;
  });
}

function fact(name, value, kind = "") {
  if (value === undefined || value === null || value === "") return [];
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  const definition = Object.assign(document.createElement("dd"), { textContent: String(value), className: kind });
  return [term, definition];
}
