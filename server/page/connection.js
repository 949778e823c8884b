// Whether the server can be reached, said in one banner; the key that it asks for; and what waits for its return.

const $ = (id) => document.getElementById(id);
const description = JSON.parse($("description").textContent);
const KEY = "key";
const OFTEN = 4000; // milliseconds between looks while all is well
const LONGEST = 15000; // and while nothing answers, where each look is a red line in the console

export class Unreachable extends Error {}

const waiting = new Set(); // what is called once the server is back
let reachable = true;
let pause = 0;
let timer = 0;
let asking = null; // the key dialog's answer, while it is open
let wrong = "";
let onStatus = () => {};

const kept = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);

/** The key to call with; asks for it where the server needs one and none is known. */
export function key() {
  if (kept() || !description.keys) return Promise.resolve(kept());
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

/** Forget a key that the server refused, so that the next call asks for another. */
export function refuseKey(refused) {
  description.keys = true;
  if (kept() !== refused) return;
  if (refused) wrong = "The server does not know this key.";
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

function ask() {
  const dialog = $("key-dialog");
  $("key").value = "";
  $("key-wrong").hidden = !wrong;
  $("key-wrong").textContent = wrong;
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.querySelector("form").addEventListener("submit", () => {
      ($("key-keep").checked ? localStorage : sessionStorage).setItem(KEY, $("key").value.trim());
      resolve(kept());
    }, { once: true });
  });
}
$("key-dialog").addEventListener("cancel", (event) => event.preventDefault()); // nothing works without

/** Resolves when the server can be reached: at once if it can. */
export const online = () => (reachable ? Promise.resolve() : new Promise((resolve) => waiting.add(resolve)));
export const isOnline = () => reachable;

/** A call found no server: say so, and look for it until it is back. */
export function lost() {
  if (!reachable) return;
  reachable = false;
  pause = 1000;
  show("Offline", "bad", "The server cannot be reached. What you wrote is kept, and jobs go on when it is back.");
  schedule(pause);
}

/** Look after the server from now on; ``told(status)`` each time that it answers. */
export function start(told) {
  onStatus = told;
  look();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
}

async function look() {
  clearTimeout(timer);
  try {
    const given = await key();
    const answer = await fetch("api/v1/status", { headers: given ? { Authorization: `Bearer ${given}` } : {} });
    if (answer.status === 401) {
      refuseKey(given);
      return void look();
    }
    if (!answer.ok) throw new Unreachable();
    found(await answer.json());
  } catch {
    if (reachable) return void lost();
    pause = Math.min(LONGEST, pause * 1.7);
    schedule(pause);
  }
}

function found(status) {
  wrong = "";
  const back = !reachable;
  reachable = true;
  if (status.ready) show("Ready", "good");
  else show("Loading the model", "", "The model is being loaded. What you send meanwhile waits for it.");
  if (back) for (const call of waiting) call();
  if (back) waiting.clear();
  onStatus(status, back);
  schedule(status.ready ? OFTEN : 1000);
}

function schedule(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(() => { if (!document.hidden || !reachable) look(); }, milliseconds);
}

function show(words, kind, banner = "") {
  const health = $("health");
  if (health.textContent !== words) health.textContent = words;
  health.className = `health ${kind}`;
  if ($("banner").textContent !== banner) $("banner").textContent = banner;
  $("banner").hidden = !banner;
  $("banner").className = `banner ${kind}`;
}
