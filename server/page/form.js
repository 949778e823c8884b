// The form: ranges and defaults come from the API's own description; what was typed outlives a reload.

const form = document.getElementById("form");
const fresh = document.getElementById("fresh");
const NUMBERS = ["width", "height", "steps", "cfg_scale", "count", "batch_size", "denoise", "clip_skip"];
const WORDS = ["prompt", "negative_prompt", "sampler", "scheduler", "seed"];
const KEPT = "form";
let defaults = {};

export function drawSeed() {
  const words = crypto.getRandomValues(new BigUint64Array(1));
  return String(words[0]);
}

export function build(fields, models) {
  for (const name of NUMBERS.concat(WORDS)) {
    const field = fields[name];
    const input = form.elements[name];
    if (!field || !input) continue;
    const range = [field, ...(field.anyOf ?? [])].find((part) => part.minimum !== undefined || part.exclusiveMinimum !== undefined) ?? {};
    if (input.type === "number") {
      input.min = range.minimum ?? range.exclusiveMinimum ?? "";
      if (range.maximum !== undefined) input.max = range.maximum;
      if (range.multipleOf) input.step = range.multipleOf;
    }
    const choices = field.enum ?? field.anyOf?.find((part) => part.enum)?.enum;
    if (choices && input.tagName === "SELECT") input.replaceChildren(...choices.map((choice) => new Option(choice)));
    if (field.description) input.title = field.description;
    defaults[name] = field.default === undefined || field.default === null ? "" : String(field.default);
  }
  defaults.count ||= "1";
  setModels(models);
  fill(defaults);
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null");
  if (kept) {
    fill(kept.values);
    fresh.checked = kept.fresh;
  }
}

/** The checkpoints to choose from; keeps the choice where it is still there. */
export function setModels(models) {
  const select = form.elements.model;
  const chosen = select.value;
  select.replaceChildren(...models.map((model) => new Option(model.name + (model.resident ? "" : " (not loaded)"), model.name)));
  const standard = models.find((model) => model.default)?.name ?? models[0]?.name ?? "";
  select.value = models.some((model) => model.name === chosen) ? chosen : standard;
}

/** Take values, as text, into the form; those it does not know are left alone. */
export function fill(values) {
  for (const [name, value] of Object.entries(values)) {
    const input = form.elements[name];
    if (!input || value === null || value === undefined) continue;
    if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === String(value))) continue;
    input.value = String(value);
  }
  follow();
}

/** What the form says, for the API. A new seed is drawn here where one is wanted, so that the form shows it. */
export function values() {
  if (fresh.checked) form.elements.seed.value = drawSeed();
  const said = {};
  for (const name of WORDS) said[name] = form.elements[name].value;
  for (const name of NUMBERS) {
    const typed = form.elements[name].value;
    if (typed !== "") said[name] = Number(typed);
  }
  said.seed = said.seed.trim();
  if (said.seed === "") delete said.seed;
  if (form.elements.model.value) said.model = form.elements.model.value;
  keep();
  return said;
}

export function reset() {
  localStorage.removeItem(KEPT);
  fresh.checked = false;
  fill(defaults);
  clearFaults();
}

export function clearFaults() {
  form.querySelectorAll(".fault").forEach((note) => note.remove());
  form.querySelectorAll("[aria-invalid]").forEach((input) => {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  });
}

/** Show what is wrong beside the field it is about; says whether there is such a field. */
export function fault(name, message) {
  const input = form.elements[name];
  if (!input?.closest) return false;
  const note = Object.assign(document.createElement("p"), { className: "fault", id: `fault-${name}`, textContent: message });
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", note.id);
  input.closest("details")?.setAttribute("open", "");
  (input.closest(".slider") ?? input.closest("fieldset") ?? input.parentElement).append(note);
  input.focus();
  return true;
}

function keep() {
  const said = Object.fromEntries([...NUMBERS, ...WORDS, "model"].map((name) => [name, form.elements[name].value]));
  localStorage.setItem(KEPT, JSON.stringify({ values: said, fresh: fresh.checked }));
}

function follow() {
  form.querySelectorAll("[data-for]").forEach((slider) => { slider.value = form.elements[slider.dataset.for].value; });
  const size = `${form.elements.width.value}x${form.elements.height.value}`;
  form.querySelectorAll("[data-size]").forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.size === size)));
}

form.addEventListener("input", (event) => {
  if (event.target.dataset.for) form.elements[event.target.dataset.for].value = event.target.value;
  follow();
  keep();
});
document.getElementById("sizes").addEventListener("click", (event) => {
  const size = event.target.dataset.size;
  if (!size) return;
  const [width, height] = size.split("x");
  fill({ width, height });
  keep();
});
document.getElementById("swap").addEventListener("click", () => {
  fill({ width: form.elements.height.value, height: form.elements.width.value });
  keep();
});
document.getElementById("dice").addEventListener("click", () => {
  fresh.checked = false;
  fill({ seed: drawSeed() });
  keep();
});
document.getElementById("model").addEventListener("change", keep);
