// The stage: one job's pictures, its progress and its end. It follows what runs, unless a person pinned a job.

import * as api from "./api.js";
import * as cells from "./cells.js";
import { Pace } from "./pace.js";
import { events } from "./stream.js";

const $ = (id) => document.getElementById(id);
const TITLE = document.title;
const SHOWN = 1500; // milliseconds that a finished job stays before the next one takes over
const PINNED = "pinned";

let current = null; // { id, job, abort, ended }
let lastMade = null; // the job that made the latest pictures that were shown
let active = []; // the jobs that wait or run, as the queue lists them
let mine = new Set(JSON.parse(sessionStorage.getItem("mine") ?? "[]"));
const sentNow = new Set(); // since the page was loaded
let pinned = sessionStorage.getItem(PINNED);
let listeners = { made() {}, ended() {}, opened() {} };

/** ``made(job)`` when pictures are there, ``ended(job)`` when a job is done, ``opened(job, number)`` for a chosen one. */
export const start = (told) => { listeners = told; };
export const isMine = (id) => mine.has(id);
export const currentId = () => (current && !current.ended ? current.id : null);
/** The job that Cancel is about: the one on the stage while it is not done, else the first of what waits and runs. */
export const cancellable = () => currentId() ?? next();

/** A job was sent from here: show it, unless another one runs on the stage. */
export function sent(job) {
  mine.add(job.id);
  sentNow.add(job.id);
  sessionStorage.setItem("mine", JSON.stringify([...mine].slice(-50)));
  if (!active.some((other) => other.id === job.id)) active.push(job);
  if (!pinned && (!current || current.ended)) watch(job.id);
}

/** Take in what waits and runs, and go on to the next where nothing holds the stage. */
export function queueChanged(jobs) {
  active = jobs;
  if (pinned && pinned !== current?.id) watch(pinned);
  follow();
}

export function pin(id) {
  setPin(id);
  watch(id);
}

/** A person asked to cancel a job. */
export function cancelling(id) {
  if (current?.id === id && !current.ended) say("Cancelling…");
}

/** Show a finished job, where nothing else is on the stage. */
export function showLatest(job) {
  if (!current) watch(job.id, job);
}

/** A picture was deleted; ``left`` is its job as it is now. */
export function forget(left) {
  if (lastMade?.id === left.id) lastMade = left.deleted ? null : left;
  if (current?.id !== left.id || !current.ended) return;
  if (left.deleted) empty();
  else watch(left.id, left);
}

function empty() {
  current = null;
  setPin(null);
  cells.start(0, 1, 1);
  say("");
  $("empty").hidden = false;
  $("details").hidden = true;
}

function next() {
  const running = active.filter((job) => job.state === "running");
  return (running.find((job) => mine.has(job.id)) ?? running[0] ?? active.find((job) => mine.has(job.id)) ?? active[0])?.id ?? null;
}

function follow() {
  $("pin").hidden = !(pinned || (current && !current.ended && active.length > 1));
  if (pinned || (current && (!current.ended || Date.now() - current.ended < SHOWN))) return;
  const id = next();
  if (id && id !== current?.id) watch(id);
}

async function watch(id, known = null) {
  current?.abort.abort();
  const own = current = { id, job: known, abort: new AbortController(), ended: 0 };
  $("empty").hidden = true;
  say(known ? "" : "Queued");
  try {
    own.job = known ?? await api.job(id);
  } catch (error) {
    if (current === own) empty();
    return;
  }
  if (current !== own) return;
  const { parameters, count } = own.job;
  draw(own.job);
  if (!["queued", "running"].includes(own.job.state)) {
    finish(own, own.job);
    if (!known && sentNow.has(id)) listeners.ended(own.job);
    return;
  }
  const pace = new Pace(parameters ? count * parameters.steps : 0);
  for await (const event of events(id, own.abort.signal)) {
    if (current !== own) return;
    progress(own, event, pace);
  }
  if (current !== own) return;
  let job;
  try {
    job = await api.job(id);
  } catch {
    return void (current = null);
  }
  finish(own, job);
  listeners.ended(job);
  setTimeout(follow, SHOWN + 50);
}

function progress(own, event, pace) {
  const { data } = event;
  const batch = own.job.parameters?.batch_size ?? 1;
  if (event.kind === "started" && own.job.attempt) pace.restart();
  if (data.preview) cells.preview(data.request * batch, `data:image/jpeg;base64,${data.preview}`);
  if (event.kind === "output") {
    place(own.job, data.images);
    api.job(own.id).then(listeners.made, () => {});
  } else if (event.kind === "queued") {
    const ahead = data.place?.ahead;
    say(ahead ? `Queued, ${ahead} ahead` : "Queued");
  } else if (event.kind !== "finished") {
    pace.at(data.progress);
    $("progress").value = data.progress;
    const words = { loading: "Loading the model", waiting: "Waiting for a place" }[data.stage] ?? step(own.job, data);
    say([words, pace.left(), pace.rate()].filter(Boolean).join(" · "));
    document.title = data.progress > 0 ? `${Math.round(100 * data.progress)} % · ${TITLE}` : TITLE;
    $("stage").setAttribute("aria-busy", "true");
    announce(own, data.progress);
  }
}

function step(job, data) {
  const number = cells.count() > 1 ? `${cells.done()} of ${cells.count()} done` : "";
  if (data.stage === "decoding" && !number) return "Finishing";
  return number || (data.steps ? `Step ${data.step} of ${data.steps}` : `Step ${data.step ?? 0}`);
}

/** Show the cells of a job with the pictures that are there. */
function draw(job) {
  const { parameters, count, images } = job;
  cells.start(parameters ? count * parameters.batch_size : images.length || 1, parameters?.width ?? 1, parameters?.height ?? 1);
  place(job, images);
}

/** Put finished pictures into their cells: those of a batch lie side by side. */
function place(job, images) {
  const batch = job.parameters?.batch_size ?? 1;
  for (const [order, made] of images.entries()) {
    const number = job.parameters ? made.request * batch + made.index : order;
    cells.finish(number, made, api.address(made), `${job.parameters?.prompt ?? "Picture"}, seed ${made.seed}`);
  }
}

function finish(own, job) {
  place(job, job.images);
  Object.assign(own, { job, ended: Date.now() });
  const ends = { cancelled: "Cancelled", failed: job.error?.detail ?? "Failed" };
  const total = job.timings?.total ?? (job.finished && job.started ? job.finished - job.started : 0);
  const done = `Done${job.interrupted ? `, ${job.images.length} kept` : ""}${total ? ` in ${total.toFixed(1)} s` : ""}`;
  cells.end(ends[job.state] ? `${ends[job.state]}.` : "");
  if (job.images.length) lastMade = job;
  else if (job.state === "cancelled" && lastMade) showAgain(own);
  say(ends[job.state] ?? done);
  document.title = TITLE;
  $("progress").value = 0;
  $("stage").removeAttribute("aria-busy");
  if (mine.has(own.id)) $("said").textContent = ends[job.state] ?? "Done";
  if (pinned === job.id) setPin(null);
  $("details").hidden = own.job.images.length === 0;
}

/** Put the pictures that were there before back in place of a job that was cancelled without any. */
function showAgain(own) {
  Object.assign(own, { id: lastMade.id, job: lastMade });
  draw(lastMade);
  cells.end();
}

function announce(own, share) {
  if (!own.said || (own.said === 1 && share >= 0.5)) {
    own.said = (own.said ?? 0) + 1;
    $("said").textContent = own.said === 1 ? "The picture is being made" : "Half done";
  }
}

const say = (words) => { $("status").textContent = words; };

function setPin(id) {
  pinned = id;
  if (id) sessionStorage.setItem(PINNED, id);
  else sessionStorage.removeItem(PINNED);
  $("pin").setAttribute("aria-pressed", String(Boolean(id)));
  $("pin").hidden = !id && active.length < 2;
}
setPin(pinned);
$("pin").addEventListener("click", () => { setPin(pinned ? null : current?.id ?? null); follow(); });
$("details").addEventListener("click", () => open(current.job.images[0]));
cells.onChosen(open);

async function open(picture) {
  const job = current.ended ? current.job : await api.job(current.id);
  listeners.opened(job, job.images.findIndex((made) => made.url === picture.url));
}
