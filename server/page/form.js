// The form. Its ranges, choices and defaults come from the API's own description, and a reload keeps what was typed.

const form = document.getElementById("form");
const fresh = document.getElementById("fresh");
const KEPT = "form";
let defaults = {};
/** The parameters that the form has an input for; the checkpoints come from another answer. */
let names = [];

export function drawSeed() {
  const words = crypto.getRandomValues(new BigUint64Array(1));
  return String(words[0]);
}

export function build(fields, models) {
  names = Object.keys(fields).filter((name) => name !== "model" && form.elements[name]);
  for (const name of names) {
    const field = fields[name];
    const input = form.elements[name];
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

/** Put values, as text, into the form; those without an input are ignored. */
export function fill(values) {
  for (const [name, value] of Object.entries(values)) {
    const input = form.elements[name];
    if (!input || value === null || value === undefined) continue;
    if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === String(value))) continue;
    input.value = String(value);
  }
  follow();
}

/** The call to the API that the form describes. A fresh seed is drawn here, so that the form shows it. */
export function values() {
  if (fresh.checked) form.elements.seed.value = drawSeed();
  const said = {};
  for (const name of names) {
    const input = form.elements[name];
    if (input.type !== "number") said[name] = input.value;
    else if (input.value !== "") said[name] = Number(input.value);
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

/** Show what is wrong beside its field, and return whether there is such a field. */
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
  const said = Object.fromEntries([...names, "model"].map((name) => [name, form.elements[name].value]));
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
