// The form: its fields from the description that the page carries, its draft, and the call that it describes.

import * as parts from "./parts.js";

const form = document.getElementById("form");
const description = JSON.parse(document.getElementById("description").textContent);
const KEPT = "draft";
const FIELDS = Object.keys(description.fields).filter((name) => form.elements[name]);
const own = FIELDS.filter((name) => name !== "seed" && name !== "model");
const defaults = Object.fromEntries(FIELDS.map((name) => [name, String(description.fields[name].default ?? "")]));
defaults.seed = "";
let standard = ""; // the model of calls that name none
let lastSeed = "";
const listeners = [];

/** Call ``listener`` now and after each change of a value. */
export function onChange(listener) {
  listeners.push(listener);
  listener();
}
export const value = (name) => form.elements[name].value;
export const labelOf = (field, choice) => description.fields[field].choices?.[choice] ?? choice;

for (const name of own) {
  const { choices, multipleOf, description: help, ...range } = description.fields[name];
  const input = form.elements[name];
  if (input.type === "number") {
    input.min = range.minimum ?? range.exclusiveMinimum ?? "";
    if (range.maximum !== undefined) input.max = range.maximum;
    if (multipleOf) input.step = multipleOf;
  }
  if (choices) input.replaceChildren(...Object.entries(choices).map(([key, label]) => new Option(label, key)));
  if (help) input.title = help;
}

/** Put values, as text, into the form; those of parameters without an input become parts beside it. */
export function fill(values) {
  for (const [name, given] of Object.entries(values)) {
    const input = form.elements[name];
    if (!input || given === null || given === undefined || !(name in defaults)) continue;
    if (name === "model" || input.tagName !== "SELECT" || [...input.options].some((option) => option.value === String(given))) setValue(input, String(given));
  }
  changed();
}

/** Replace the form by the parameters of a picture or a file, with its parts. Returns the model that is not here. */
export function take(parameters) {
  const model = known(parameters.model);
  parts.set(Object.fromEntries(Object.entries(parameters).filter(([name, given]) =>
    !(name in defaults) && name in description.fields && JSON.stringify(given) !== JSON.stringify(description.fields[name].default))));
  fill({ count: 1, ...parameters, model });
  return parameters.model && !model ? parameters.model : null;
}

/** The name by which the list has a model, which a file may name with its suffix. */
function known(model) {
  if (!model) return standard;
  const names = [...form.elements.model.options].map((option) => option.value);
  return [model, model.replace(/\.(safetensors|ckpt|pt)$/, "")].find((name) => names.includes(name));
}

/** The checkpoints to choose from; keeps the choice where it is still there. */
export function setModels(models) {
  const select = form.elements.model;
  const chosen = select.value;
  standard = models.find((model) => model.default)?.name ?? models[0]?.name ?? "";
  const options = models.map((model) => new Option(model.name + (model.resident ? "" : " (not loaded)"), model.name));
  if (options.map((option) => option.text).join() !== [...select.options].map((option) => option.text).join()) select.replaceChildren(...options);
  select.value = models.some((model) => model.name === chosen) ? chosen : standard;
}

/** The call to the API that the form describes. An empty seed is drawn by the server. */
export function values() {
  const said = { ...parts.get() };
  for (const name of own) {
    const input = form.elements[name];
    if (input.type !== "number") said[name] = input.value;
    else if (input.value !== "") said[name] = Number(input.value);
  }
  said.seed = value("seed").trim() || null;
  if (value("model")) said.model = value("model");
  return said;
}

export function reset() {
  parts.set({});
  clearFaults();
  fill({ ...defaults, model: standard });
}

/** The seed of the latest picture, which the lock keeps. */
export function setLastSeed(seed) {
  lastSeed = String(seed);
}

export function clearFaults() {
  form.querySelectorAll(".fault").forEach((note) => note.remove());
  form.querySelectorAll("[aria-invalid]").forEach((input) => {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  });
}

/** Show what is wrong beside its field, and return whether there is such a field. */
export function fault(name, message) {
  const input = form.elements[name];
  if (!input?.closest) return false;
  const note = Object.assign(document.createElement("p"), { className: "fault", id: `fault-${name}`, textContent: message });
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", note.id);
  for (let details = input.closest("details"); details; details = details.parentElement.closest("details")) details.open = true;
  (input.closest(".slider, .field, fieldset") ?? input.closest(".pair, .actions") ?? input.parentElement).append(note);
  input.focus();
  input.scrollIntoView({ block: "nearest" });
  return true;
}

/** Whether all numbers are in their ranges; says what is wrong with the first that is not. */
export function check() {
  for (const name of own) {
    const input = form.elements[name];
    if (input.type !== "number" || (input.validity.valid && input.value !== "")) continue;
    const { multipleOf, minimum, exclusiveMinimum, maximum } = description.fields[name];
    const range = exclusiveMinimum === undefined ? `from ${minimum}` : `above ${exclusiveMinimum} and up`;
    const kind = multipleOf ? `a multiple of ${multipleOf}` : "a number";
    return !fault(name, `Expected ${kind} ${range} to ${maximum}.`);
  }
  return true;
}

function setValue(input, text) {
  if (input.name === "model" && ![...input.options].some((option) => option.value === text)) input.append(new Option(text, text));
  input.value = text;
}

function changed() {
  form.querySelectorAll("[data-for]").forEach((slider) => { slider.value = form.elements[slider.dataset.for].value; });
  const locked = value("seed") !== "";
  document.getElementById("lock").setAttribute("aria-pressed", String(locked));
  document.getElementById("dice").setAttribute("aria-pressed", String(!locked));
  document.getElementById("settings-words").textContent = `${value("width")} × ${value("height")} · ${value("steps")} steps · ${labelOf("sampler", value("sampler"))}`;
  const kept = Object.fromEntries([...own, "seed", "model"].map((name) => [name, value(name)]));
  localStorage.setItem(KEPT, JSON.stringify({ values: kept, parts: parts.get() }));
  for (const listener of listeners) listener();
}
parts.onChange(changed);

form.addEventListener("input", (event) => {
  if (event.target.dataset.for) form.elements[event.target.dataset.for].value = event.target.value;
  const changedOne = form.elements[event.target.dataset.for ?? event.target.name];
  if (changedOne?.getAttribute?.("aria-invalid")) {
    document.getElementById(changedOne.getAttribute("aria-describedby"))?.remove();
    changedOne.removeAttribute("aria-invalid");
    changedOne.removeAttribute("aria-describedby");
  }
  changed();
});
form.elements.model.addEventListener("change", changed);
document.getElementById("swap").addEventListener("click", () => fill({ width: value("height"), height: value("width") }));
document.getElementById("dice").addEventListener("click", () => fill({ seed: "" }));
document.getElementById("lock").addEventListener("click", () => {
  fill({ seed: value("seed") ? "" : lastSeed || String(crypto.getRandomValues(new Uint32Array(1))[0]) });
});

const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null");
const typed = Object.fromEntries([...form.querySelectorAll("textarea")].filter((area) => area.value).map((area) => [area.name, area.value]));
if (kept) parts.set(kept.parts ?? {});
fill({ ...defaults, ...(kept?.values ?? {}), ...typed }); // what was typed while this module was on its way stays
