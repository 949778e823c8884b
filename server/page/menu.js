// One dialog with a list to choose from, and the small dialogs around it: the shortcuts, and questions.

import { tell } from "./notices.js";

const $ = (id) => document.getElementById(id);
const dialog = $("menu");

for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const each of document.querySelectorAll("dialog:not(#key-dialog)")) {
  each.addEventListener("click", (event) => { if (event.target === each && each.id !== "viewer") each.close(); });
}

/** Offer ``rows`` ({ words, hint, run, remove }), and under them a field ({ label, words, type, run(text) }). */
export function menu(title, hint, rows, field = null) {
  $("menu-title").textContent = title;
  const list = Object.assign(document.createElement("ul"), { className: "choices" });
  list.append(...rows.map(row));
  const note = Object.assign(document.createElement("p"), { className: "hint", textContent: hint, hidden: !hint });
  $("menu-body").replaceChildren(note, list, ...(field ? [ask(field)] : []));
  if (!dialog.open) dialog.showModal();
}

function row({ words, hint, run, remove }) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "choice" });
  button.append(Object.assign(document.createElement("span"), { textContent: words }));
  if (hint) button.append(Object.assign(document.createElement("small"), { textContent: hint }));
  button.addEventListener("click", () => { dialog.close(); run(); });
  item.append(button);
  if (remove) {
    const away = Object.assign(document.createElement("button"), { type: "button", className: "small danger", textContent: "Remove" });
    away.setAttribute("aria-label", `Remove: ${words}`);
    away.addEventListener("click", remove);
    item.append(away);
  }
  return item;
}

function ask({ label, words, run, type = "text" }) {
  const form = Object.assign(document.createElement("form"), { className: "pair save" });
  const input = Object.assign(document.createElement("input"), { type, required: true, maxLength: 60, step: "any" });
  const named = Object.assign(document.createElement("label"), { textContent: `${label} ` });
  named.append(input);
  form.append(named, Object.assign(document.createElement("button"), { textContent: words }));
  form.addEventListener("submit", (event) => { event.preventDefault(); run(input.value.trim()); });
  return form;
}

let asking = Promise.resolve(); // the question that is asked, or was last

/** Whether a person is sure of what ``question`` asks. */
export async function sure(question) {
  await asking; // a dialog is closed before its close event, which would answer this question too
  if ($("sure").open) return false;
  $("sure-title").textContent = question;
  $("sure").returnValue = "";
  $("sure").showModal();
  asking = new Promise((resolve) => $("sure").addEventListener("close", () => resolve($("sure").returnValue === "yes"), { once: true }));
  return asking;
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} copied`);
  } catch {
    tell(`${what}: this browser allows no copying here`, "bad");
  }
}

const SHORTCUTS = [
  ["Ctrl ⏎", "Generate"], ["Ctrl ↑ ↓", "More or less weight for the words at the caret"], ["/", "Go to the prompt"],
  ["Esc", "Close what is open"], ["← →", "Newer or older picture"], ["Z", "Zoom to 100 % and back"], ["F", "Full screen"],
  ["S", "Star the picture"], ["Delete", "Delete the picture"], ["?", "Show this list"],
];

export function help() {
  const rows = SHORTCUTS.map(([keys, words]) => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("kbd"), { textContent: keys }), Object.assign(document.createElement("span"), { textContent: words }));
    return item;
  });
  const list = Object.assign(document.createElement("ul"), { className: "shortcuts" });
  list.append(...rows);
  $("menu-title").textContent = "Shortcuts and settings";
  $("menu-body").replaceChildren(list, notifying());
  if (!dialog.open) dialog.showModal();
}

function notifying() {
  const label = Object.assign(document.createElement("label"), { className: "check" });
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: localStorage.getItem("notify") === "yes" });
  box.disabled = !("Notification" in window);
  box.addEventListener("change", async () => {
    const allowed = box.checked && (await Notification.requestPermission()) === "granted";
    if (box.checked && !allowed) tell("The browser does not allow notifications here.", "bad");
    box.checked = allowed;
    localStorage.setItem("notify", allowed ? "yes" : "no");
  });
  label.append(box, " Notify me when pictures are done and this page is out of sight");
  return label;
}

/** Say so outside of the page, where that is wanted and the page is out of sight. */
export function notify(words) {
  if (document.hidden && localStorage.getItem("notify") === "yes" && Notification.permission === "granted") new Notification(words, { icon: "icon.svg", tag: "done" });
}
