// The picture that is being made, or was made last: its progress, preview and end.

import * as api from "./api.js";

const picture = document.getElementById("picture");
const empty = document.getElementById("empty");
const status = document.getElementById("status");
const progress = document.getElementById("progress");
const cancelButton = document.getElementById("cancel");
const detailsButton = document.getElementById("details");
const WATCHED = "watched";

let watching = null; // { id, abort }
let shown = null; // the job and the number of its picture

export const isBusy = () => watching !== null;
export const watched = () => sessionStorage.getItem(WATCHED);

/** Follow a job until it is done; says how it ended, and ``made(job)`` whenever pictures of it are there. The job that was followed before is no longer followed, but not cancelled. */
export async function watch(id, changed, made) {
  watching?.abort.abort();
  const mine = watching = { id, abort: new AbortController() };
  sessionStorage.setItem(WATCHED, id);
  cancelButton.hidden = false;
  detailsButton.hidden = true;
  progress.hidden = false;
  progress.removeAttribute("value");
  picture.hidden = true;
  empty.hidden = false;
  empty.textContent = "On its way…";
  status.textContent = "Queued";
  for await (const event of api.events(id, mine.abort.signal)) {
    if (watching !== mine) return null;
    if (event.kind === "output") api.job(id).then(made, () => {});
    else tell(event);
  }
  if (watching !== mine) return null;
  const job = await api.job(id);
  watching = null;
  sessionStorage.removeItem(WATCHED);
  cancelButton.hidden = true;
  progress.hidden = true;
  finish(job);
  changed(job);
  return job;
}

export function show(job, number = 0) {
  const made = job.images[number];
  shown = { job, number };
  picture.className = "whole";
  picture.src = api.address(made);
  picture.alt = job.parameters?.prompt;
  picture.hidden = false;
  empty.hidden = true;
  detailsButton.hidden = false;
}

export const current = () => shown;

function tell(event) {
  const { data } = event;
  if (data.preview) {
    picture.className = "preview";
    picture.src = `data:image/jpeg;base64,${data.preview}`;
    picture.alt = "Preview";
    picture.hidden = false;
    empty.hidden = true;
  }
  if (event.kind === "queued") {
    const ahead = data.place?.ahead;
    status.textContent = ahead ? `Queued, ${ahead} ahead` : "Queued";
  } else if (event.kind !== "finished") {
    if (data.progress > 0) progress.value = data.progress;
    const words = { loading: "Loading the model", waiting: "Waiting for a place", decoding: "Decoding" };
    const steps = data.steps ? `Step ${data.step} of ${data.steps}` : `Step ${data.step ?? 0}`;
    status.textContent = words[data.stage] ?? steps;
  }
}

function finish(job) {
  if (job.state === "succeeded") {
    show(job);
    const seconds = job.timings?.total;
    status.textContent = seconds ? `Done in ${seconds.toFixed(1)} s` : "Done";
  } else {
    picture.hidden = true;
    empty.hidden = false;
    empty.textContent = job.state === "cancelled" ? "Cancelled." : "This picture failed.";
    status.textContent = job.state === "cancelled" ? "Cancelled" : job.error?.detail ?? "Failed";
  }
}

cancelButton.addEventListener("click", async () => {
  if (!watching) return;
  status.textContent = "Cancelling…";
  await api.cancel(watching.id);
});
