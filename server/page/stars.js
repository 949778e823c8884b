// Which pictures are starred: kept in this browser, by their names.

const KEPT = "stars";
const names = new Set(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));
const listeners = [];

export const onChange = (listener) => listeners.push(listener);
export const has = (name) => names.has(name);

export function toggle(name) {
  if (!names.delete(name)) names.add(name);
  save();
}

/** Forget a picture that was deleted. */
export function forget(name) {
  if (names.delete(name)) save();
}

function save() {
  localStorage.setItem(KEPT, JSON.stringify([...names]));
  for (const listener of listeners) listener();
}
