// Puts the page together: form → job → stage → gallery → viewer; files that come in; the model; the theme; shortcuts.

import * as api from "./api.js";
import * as connection from "./connection.js";
import * as files from "./files.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as loras from "./loras.js";
import * as parts from "./parts.js";
import * as prompt from "./prompt.js";
import * as queue from "./queue.js";
import * as selection from "./selection.js";
import * as stage from "./stage.js";
import * as viewer from "./viewer.js";
import { help, notify } from "./menu.js";
import { clear, complain, tell } from "./notices.js";

const $ = (id) => document.getElementById(id);
const phone = matchMedia("(max-width: 820px)");
const EXAMPLES = ["a lighthouse on a cliff at dawn", "three pink trees in a desert", "a red boat on a calm lake, mountains"];
const said = new Set(); // jobs whose end was said
let jobs = [];

function ended(job) {
  if (said.has(job.id)) return;
  said.add(job.id);
  gallery.add(job);
  queue.refresh();
  if (!stage.isMine(job.id)) return;
  if (job.images.length) form.setLastSeed(job.images.at(-1).seed);
  if (job.state === "failed") tell(job.error?.detail ?? "This picture failed.", "bad");
  if (job.state === "succeeded") notify(job.images.length > 1 ? `${job.images.length} pictures are done` : "Your picture is done");
  refreshModels().catch(() => {});
}

async function generate() {
  if ($("generate").disabled) return;
  form.clearFaults();
  clear();
  if (!form.check()) return;
  $("generate").disabled = true;
  try {
    const job = await api.generate(form.values());
    prompt.remember();
    form.setLastSeed(job.seed);
    stage.sent(job);
    queue.refresh();
    if (phone.matches) $("stage").scrollIntoView({ block: "start", behavior: "smooth" });
  } catch (error) {
    if (!(error.field && form.fault(error.field, error.message))) {
      if (error instanceof connection.Unreachable) tell("Nothing was sent: the server cannot be reached.", "bad");
      else complain(error);
    }
  } finally {
    $("generate").disabled = false;
  }
}

async function take(file) {
  form.clearFaults();
  clear();
  const isPicture = file.type.startsWith("image/");
  const from = { words: "Start from it", run: () => startFrom(file) };
  try {
    const missing = form.take(await api.parametersOf(file));
    const words = missing ? `${file.name} names the model ${missing}, which is not here; ${form.value("model")} stays chosen.` : `Parameters taken from ${file.name}`;
    tell(words, missing ? "bad" : "good", isPicture ? from : null);
  } catch (error) {
    if (isPicture && error instanceof api.Refused) tell(`${file.name}: ${error.message}`, "bad", from);
    else complain(error);
  }
}

async function startFrom(blob) {
  try {
    await parts.startFrom(blob);
    if (Number(form.value("denoise")) >= 1) form.fill({ denoise: 0.6 });
    tell("The next pictures start from it; Denoise, under More, says how much changes.");
  } catch (error) {
    complain(error);
  }
}

/** Take parameters into the form; ``some`` of them leave the others as they are. */
function use(parameters, some = false) {
  if (some) form.fill(parameters);
  else form.take(parameters);
  scrollTo({ top: 0 });
  $("prompt").focus({ preventScroll: phone.matches });
}

function larger(parameters) {
  form.take({ ...parameters, hires: { scale: 2 } });
  generate();
}

async function refreshModels() {
  const { models } = await api.get("api/v1/models");
  form.setModels(models);
  const chosen = models.find((model) => model.name === form.value("model"));
  $("load-model").hidden = !chosen || chosen.resident;
  $("model").title = chosen?.name === "starter" ? "A small model that comes with the server, to try it out. Put checkpoints into its models folder." : "";
}

$("model").addEventListener("change", () => refreshModels().catch(complain));
$("load-model").addEventListener("click", async () => {
  $("load-model").disabled = true;
  $("load-model").textContent = "Loading…";
  await api.load(form.value("model")).catch(complain);
  $("load-model").disabled = false;
  $("load-model").textContent = "Load";
  refreshModels().catch(complain);
});

$("form").addEventListener("submit", (event) => { event.preventDefault(); generate(); });
$("reset").addEventListener("click", () => { form.reset(); refreshModels().catch(complain); });
$("cancel").addEventListener("click", () => {
  const id = stage.cancellable();
  if (!id) return;
  stage.cancelling(id);
  queue.cancel(id);
});
$("add-lora").addEventListener("click", () => loras.choose().catch(complain));
$("help").addEventListener("click", help);
$("theme").addEventListener("click", () => {
  const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", other);
  document.documentElement.dataset.theme = other;
});

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, textarea, select");
  const run = event.key === "Enter" && (event.ctrlKey || event.metaKey) ? generate
    : typing ? null : { "?": help, "/": () => $("prompt").focus() }[event.key];
  if (!run) return;
  event.preventDefault();
  run();
});

const showSettings = () => { $("settings").open = !phone.matches; };
phone.addEventListener("change", showSettings);
showSettings();

$("examples").append(...EXAMPLES.map((words) => {
  const chip = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  chip.addEventListener("click", () => { form.fill({ prompt: words }); $("prompt").focus(); });
  return chip;
}));

function open(item, event) {
  if (selection.isOn()) selection.choose(item, event?.shiftKey);
  else viewer.open(item);
}

async function startFromPicture({ job, number }) {
  const picture = job.images[number];
  form.fill({ width: picture.width, height: picture.height });
  await startFrom(await (await api.send(api.address(picture))).blob());
}

function start() {
  files.start(take);
  stage.start({ made: gallery.add, ended, opened: (job, number) => viewer.open(gallery.itemOf(job, number)) });
  selection.onDeleted((item, left) => stage.forget(left));
  viewer.start({ use, larger, startFrom: (item) => startFromPicture(item).catch(complain) });
  queue.start({
    chosen: stage.pin,
    ended: (job) => { if (job.id !== stage.currentId()) ended(job); },
    changed: (listed) => {
      jobs = listed;
      stage.queueChanged(jobs);
      $("cancel").disabled = !stage.cancellable();
    },
  });
  const show = () => gallery.start({ opened: open, latest: (job) => { if (!jobs.length) stage.showLatest(job); } });
  show().catch(() => connection.online().then(show).catch(() => {}));
  let ready = null;
  connection.start((status, back) => {
    if (back) queue.sendCancels().then(queue.refresh);
    if (back || status.ready !== ready) refreshModels().catch(() => {});
    ready = status.ready;
  });
  queue.sendCancels();
}
start();
