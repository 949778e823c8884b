// The jobs that are waiting or running, of every caller.

import * as api from "./api.js";

const list = document.getElementById("queue");
const section = document.getElementById("queue-section");
const count = document.getElementById("queue-count");
const INTERVAL = 1500; // milliseconds

let follow = () => {};
let ended = () => {};
let before = new Set();

/** Keep the list true; ``onChosen(id)`` when a person wants to watch one, ``onEnded(job)`` when one is done. */
export function start(onChosen, onEnded) {
  follow = onChosen;
  ended = onEnded;
  refresh();
  setInterval(() => { if (!document.hidden) refresh(); }, INTERVAL);
}

export async function refresh() {
  let answer;
  try {
    answer = await api.jobs({ state: "queued,running", limit: 50, order: "oldest" });
  } catch {
    return; // the health mark says it
  }
  const { jobs } = answer;
  const now = new Set(jobs.map((job) => job.id));
  for (const id of before) if (!now.has(id)) api.job(id).then(ended, () => {});
  before = now;
  section.hidden = jobs.length === 0;
  count.textContent = jobs.length || "";
  const held = document.activeElement?.closest?.("li")?.dataset.id; // the one the keyboard is on
  const role = document.activeElement?.dataset?.role;
  list.replaceChildren(...jobs.map(row));
  if (held) list.querySelector(`li[data-id="${CSS.escape(held)}"] [data-role="${role}"]`)?.focus();
}

function row(job) {
  const item = document.createElement("li");
  item.dataset.id = job.id;
  const words = Object.assign(document.createElement("button"), { type: "button", className: "words" });
  words.textContent = job.parameters?.prompt || "(no prompt)";
  words.title = "Watch this one";
  words.dataset.role = "watch";
  words.addEventListener("click", () => follow(job.id));
  const state = Object.assign(document.createElement("span"), { className: "state" });
  state.textContent = described(job);
  const end = Object.assign(document.createElement("button"), { type: "button", className: "quiet danger", textContent: "Cancel" });
  end.dataset.role = "cancel";
  end.setAttribute("aria-label", `Cancel: ${words.textContent}`);
  end.addEventListener("click", async () => {
    end.disabled = true;
    await api.cancel(job.id).catch(() => {});
    refresh();
  });
  item.append(words, state, end);
  return item;
}

function described(job) {
  if (job.state === "running") return job.progress ? `Running, ${Math.round(100 * job.progress)} %` : "Running";
  const wait = job.place?.wait;
  const ahead = job.place?.ahead ? `${job.place.ahead} ahead` : "Next";
  return wait ? `${ahead}, about ${Math.ceil(wait)} s` : ahead;
}
