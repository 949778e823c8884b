// Help with writing prompts: weights by Ctrl+↑/↓, the token count, the history, styles, and the shapes of pictures.

import * as api from "./api.js";
import * as form from "./form.js";
import { menu } from "./menu.js";

const prompt = document.getElementById("prompt");
const negative = document.getElementById("negative_prompt");
const count = document.getElementById("tokens");
const HISTORY = "history";
const STYLES = "styles";
const MOST = 60;
const PLACE = "{prompt}"; // in a style: where the prompt goes

const kept = (name) => JSON.parse(localStorage.getItem(name) ?? "[]");
const keep = (name, list) => localStorage.setItem(name, JSON.stringify(list));

/** Remember a prompt that was sent, the newest first. */
export function remember() {
  const entry = { prompt: prompt.value, negative_prompt: negative.value };
  const others = kept(HISTORY).filter((old) => JSON.stringify(old) !== JSON.stringify(entry));
  keep(HISTORY, [entry, ...others].slice(0, MOST));
}

/** Change the weight of the selected words, or of the word at the caret, by ``step``. */
export function weigh(area, step) {
  const text = area.value;
  let [start, end] = [area.selectionStart, area.selectionEnd];
  const around = weighted(text, start, end);
  let words = text.slice(start, end);
  let weight = 1;
  if (around) [start, end, words, weight] = around;
  else if (start === end) {
    while (start > 0 && !/[\s,()[\]]/.test(text[start - 1])) start -= 1;
    while (end < text.length && !/[\s,()[\]]/.test(text[end])) end += 1;
    words = text.slice(start, end);
  }
  if (!words.trim()) return;
  weight = Math.round(20 * (weight + step)) / 20;
  const written = weight === 1 ? words : `(${words}:${weight})`;
  area.setSelectionRange(start, end);
  document.execCommand("insertText", false, written); // which can be undone, as setting the value cannot
  const from = start + (weight === 1 ? 0 : 1);
  area.setSelectionRange(from, from + words.length);
}

/** The weighted words around a selection: where they start and end, the words, and their weight. */
function weighted(text, start, end) {
  for (const found of text.matchAll(/\(([^()]*):(\d*\.?\d+)\)/g)) {
    const [from, to] = [found.index, found.index + found[0].length];
    if (from <= start && end <= to) return [from, to, found[1], Number(found[2])];
  }
  return null;
}

for (const area of [prompt, negative]) {
  area.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
    if (!step || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    weigh(area, step);
  });
}

let counting = null;
let timer = 0;
let counted = "";
async function countTokens() {
  const [syntax, text] = [form.value("prompt_syntax"), prompt.value];
  if (counted === syntax + text) return;
  counting?.abort();
  counting = new AbortController();
  try {
    const { tokens, room, chunks } = await api.tokens(text, syntax, counting.signal);
    counted = syntax + text;
    count.textContent = `${tokens} / ${room}`;
    count.classList.toggle("many", chunks > 1);
  } catch { /* the next change counts again */ }
}
form.onChange(() => {
  clearTimeout(timer);
  timer = setTimeout(countTokens, 300);
});

const short = (text) => text.trim() || "(no prompt)";

function showHistory() {
  const entries = kept(HISTORY);
  menu("History", entries.length ? "" : "Prompts that you send are listed here.", entries.map((entry) => ({
    words: short(entry.prompt), hint: entry.negative_prompt && `not: ${entry.negative_prompt}`, run: () => form.fill(entry),
  })));
}

function showStyles() {
  const styles = kept(STYLES);
  const rows = styles.map((style) => ({
    words: style.name, hint: style.prompt, run: () => apply(style),
    remove: () => { keep(STYLES, styles.filter((other) => other.name !== style.name)); showStyles(); },
  }));
  menu("Styles", `A style is added to the prompt; ${PLACE} in it is where the prompt goes.`, rows, {
    label: "Keep the prompts now as", words: "Save", run: (name) => {
      const style = { name, prompt: prompt.value, negative_prompt: negative.value };
      keep(STYLES, [...styles.filter((other) => other.name !== name), style].sort((one, other) => one.name.localeCompare(other.name)));
      showStyles();
    },
  });
}

function apply(style) {
  const join = (text, more) => (more.includes(PLACE) ? more.replace(PLACE, text) : [text, more].filter((part) => part.trim()).join(", "));
  form.fill({ prompt: join(prompt.value, style.prompt), negative_prompt: join(negative.value, style.negative_prompt) });
}
document.querySelector("[data-menu=history]").addEventListener("click", showHistory);
document.querySelector("[data-menu=styles]").addEventListener("click", showStyles);

const aspects = document.getElementById("aspects");
const ASPECTS = [["1:1", 1, 1], ["4:3", 4, 3], ["3:2", 3, 2], ["16:9", 16, 9], ["2:3", 2, 3], ["9:16", 9, 16]];
const whole = (pixels) => Math.max(16, 8 * Math.round(pixels / 8));

/** The size of a shape whose shorter side stays as it is. */
function sized(across, down) {
  const side = Math.min(Number(form.value("width")) || 512, Number(form.value("height")) || 512);
  const unit = side / Math.min(across, down);
  return { width: whole(across * unit), height: whole(down * unit) };
}

for (const [words, across, down] of ASPECTS) {
  const chip = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  chip.addEventListener("click", () => form.fill(sized(across, down)));
  form.onChange(() => {
    const { width, height } = sized(across, down);
    chip.setAttribute("aria-pressed", String(form.value("width") === String(width) && form.value("height") === String(height)));
  });
  aspects.append(chip);
}
