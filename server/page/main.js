// Puts the page together: form → job → stage → gallery; dropping files, the model switch, the theme.

import * as api from "./api.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as queue from "./queue.js";
import * as stage from "./stage.js";

const $ = (id) => document.getElementById(id);

function complain(error) {
  $("notice").querySelector("p").textContent = error.message;
  $("notice").hidden = false;
}
$("notice").querySelector("button").addEventListener("click", () => { $("notice").hidden = true; });

const done = (job) => {
  gallery.add(job);
  queue.refresh();
  refreshModels();
  if (job.state === "failed") complain(new Error(job.error?.detail ?? "This picture failed."));
};

async function generate() {
  form.clearFaults();
  $("notice").hidden = true;
  $("generate").disabled = true;
  try {
    const job = await api.generate(form.values());
    stage.watch(job.id, done, gallery.add).catch(complain);
    queue.refresh();
    if (matchMedia("(max-width: 820px)").matches) $("stage").scrollIntoView({ block: "start" });
  } catch (error) {
    if (!(error.field && form.fault(error.field, error.message))) complain(error);
  } finally {
    $("generate").disabled = false;
  }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); generate(); });
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    generate();
  }
});
$("reset").addEventListener("click", form.reset);
$("details").addEventListener("click", () => {
  const { job, number } = stage.current();
  gallery.open(job, number);
});
$("picture").addEventListener("click", () => { if ($("picture").className === "whole") $("details").click(); });

async function take(file) {
  form.clearFaults();
  $("notice").hidden = true;
  try {
    const parameters = await api.parametersOf(file);
    $("fresh").checked = false;
    form.fill({ count: 1, ...parameters });
    $("status").textContent = `Parameters taken from ${file.name}`;
    const models = [...$("model").options].map((option) => option.value);
    if (parameters.model && !models.includes(parameters.model)) {
      complain(new Error(`${file.name} names the model ${parameters.model}, which is not here; ${$("model").value} stays chosen.`));
    }
  } catch (error) {
    complain(error);
  }
}
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files[0]) take($("file").files[0]);
  $("file").value = "";
});
let depth = 0; // drag events come in and out for every element on the way
addEventListener("dragenter", (event) => {
  if (event.dataTransfer?.types.includes("Files")) { depth += 1; $("drop").hidden = false; }
});
addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); $("drop").hidden = depth === 0; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  if (event.dataTransfer?.files[0]) take(event.dataTransfer.files[0]);
});

async function refreshModels() {
  const { models } = await api.get("api/v1/models");
  form.setModels(models);
  const chosen = models.find((model) => model.name === $("model").value);
  $("load-model").hidden = !chosen || chosen.resident;
  return models;
}
$("model").addEventListener("change", () => refreshModels().catch(complain));
$("load-model").addEventListener("click", async () => {
  $("load-model").disabled = true;
  $("load-model").textContent = "Loading…";
  await api.load($("model").value).catch(complain);
  $("load-model").disabled = false;
  $("load-model").textContent = "Load";
  refreshModels().catch(complain);
});

async function health() {
  let words = "Cannot be reached";
  let kind = "bad";
  try {
    const response = await fetch("readyz");
    [words, kind] = response.ok ? ["Ready", "good"] : ["Loading the model", ""];
  } catch { /* said above */ }
  if ($("health").textContent !== words) $("health").textContent = words;
  $("health").className = `health ${kind}`;
}

function theme(choice) {
  const dark = choice ?? localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark;
}
$("theme").addEventListener("click", () => {
  const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", other);
  theme(other);
});

api.onKeyNeeded(() => new Promise((resolve) => {
  if ($("key-dialog").open) { resolve(null); return; }
  $("key").value = "";
  $("key-dialog").showModal();
  $("key-dialog").addEventListener("close", () => resolve($("key").value || null), { once: true });
}));

async function start() {
  theme();
  health();
  setInterval(() => { if (!document.hidden) health(); }, 3000);
  const [fields, { models }] = [await api.fields(), await api.get("api/v1/models")];
  form.build(fields, models);
  await refreshModels();
  queue.start((id) => stage.watch(id, done, gallery.add).catch(complain), gallery.add);
  const before = stage.watched();
  if (before) stage.watch(before, done, gallery.add).catch(() => {});
  await gallery.start((parameters) => {
    $("fresh").checked = false;
    form.fill(parameters);
    scrollTo({ top: 0, behavior: "smooth" });
    $("prompt").focus();
  });
}
start().catch(complain);
