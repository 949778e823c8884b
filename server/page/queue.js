// The jobs that wait or run, of every caller. Rows are updated in place, so that a click always meets its button.

import * as api from "./api.js";
import * as connection from "./connection.js";
import { complain } from "./notices.js";

const $ = (id) => document.getElementById(id);
const list = $("queue");
const INTERVAL = 1500; // milliseconds
const CANCELS = "cancels"; // ids whose cancelling could not be sent yet: it is, once the server is back

let listeners = { chosen() {}, changed() {}, ended() {} };
let before = new Set();
let timer = 0;

/** ``chosen(id)`` when a person wants to watch one, ``changed(jobs)`` after each look, ``ended(job)`` when one is done. */
export function start(told) {
  listeners = told;
  refresh();
}

export async function refresh() {
  clearTimeout(timer);
  timer = setTimeout(() => { if (document.hidden && !before.size) again(); else refresh(); }, INTERVAL);
  if (!connection.isOnline()) return;
  let jobs;
  try {
    ({ jobs } = await api.jobs({ state: "queued,running", limit: 50, order: "oldest" }));
  } catch {
    return; // the banner says it
  }
  const now = new Set(jobs.map((job) => job.id));
  for (const id of before) if (!now.has(id)) api.job(id).then((job) => { if (job.finished) listeners.ended(job); }, () => {});
  before = now;
  $("queue-section").hidden = jobs.length < 2 && jobs.every((job) => job.state === "running");
  $("queue-count").textContent = jobs.length || "";
  $("cancel-all").hidden = jobs.length < 2;
  for (const row of [...list.children]) if (!now.has(row.dataset.id)) row.remove();
  for (const [place, job] of jobs.entries()) {
    const row = list.querySelector(`li[data-id="${CSS.escape(job.id)}"]`) ?? make(job);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    update(row, job);
  }
  listeners.changed(jobs);
}
const again = () => { timer = setTimeout(refresh, INTERVAL); };

/** Cancel a job now, or, if the server cannot be reached, as soon as it is back. */
export async function cancel(id) {
  const ids = new Set(JSON.parse(localStorage.getItem(CANCELS) ?? "[]")).add(id);
  localStorage.setItem(CANCELS, JSON.stringify([...ids]));
  await sendCancels();
  refresh();
}

/** Send the cancels that wait. */
export async function sendCancels() {
  for (const id of JSON.parse(localStorage.getItem(CANCELS) ?? "[]")) {
    try {
      await api.cancel(id);
    } catch (error) {
      if (error instanceof connection.Unreachable) return;
      if (!(error instanceof api.Refused && error.status === 404)) complain(error);
    }
    const left = JSON.parse(localStorage.getItem(CANCELS) ?? "[]").filter((other) => other !== id);
    localStorage.setItem(CANCELS, JSON.stringify(left));
  }
}

function make(job) {
  const row = document.createElement("li");
  row.dataset.id = job.id;
  const words = Object.assign(document.createElement("button"), { type: "button", className: "words", title: "Watch this one" });
  words.addEventListener("click", () => listeners.chosen(job.id));
  const prompt = job.parameters?.prompt || "(no prompt)";
  const size = job.parameters ? `${job.parameters.width} × ${job.parameters.height}` : "";
  const several = job.count > 1 ? `${job.count} pictures` : "";
  words.append(span("", prompt), span("hint", [size, `seed ${job.seed}`, several].filter(Boolean).join(" · ")));
  const bar = Object.assign(document.createElement("progress"), { max: 1 });
  bar.setAttribute("aria-label", `Progress: ${prompt}`);
  const end = Object.assign(document.createElement("button"), { type: "button", className: "small danger", textContent: "Cancel" });
  end.setAttribute("aria-label", `Cancel: ${prompt}`);
  end.addEventListener("click", () => { end.disabled = true; cancel(job.id); });
  row.append(words, bar, span("state", ""), end);
  return row;
}

function update(row, job) {
  row.querySelector("progress").value = job.progress;
  const state = row.querySelector(".state");
  const words = described(job);
  if (state.textContent !== words) state.textContent = words;
}

function span(className, textContent) {
  return Object.assign(document.createElement("span"), { className, textContent });
}

function described(job) {
  if (job.cancel_requested || job.interrupted) return "Cancelling…";
  if (job.state === "running") return job.progress ? `${Math.round(100 * job.progress)} %` : "Starting";
  const wait = job.place?.wait;
  const ahead = job.place?.ahead ? `${job.place.ahead} ahead` : "Next";
  return wait ? `${ahead}, ${Math.ceil(wait)} s` : ahead;
}

$("cancel-all").addEventListener("click", async () => {
  for (const row of [...list.children].reverse()) await cancel(row.dataset.id);
});
