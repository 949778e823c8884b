// Short messages that go by themselves and push nothing away. They stay while a pointer or the focus is on them.

const list = document.getElementById("notices");
const SECONDS = { good: 5, bad: 12 };

/** Show ``text``; ``kind`` is good or bad, ``action`` a button: { words, run }. */
export function tell(text, kind = "good", action = null) {
  for (const old of list.children) if (old.dataset.text === text) old.remove();
  const notice = Object.assign(document.createElement("div"), { className: `notice ${kind}` });
  notice.dataset.text = text;
  notice.setAttribute("role", kind === "bad" ? "alert" : "status");
  notice.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (action) notice.append(button(action.words, () => { action.run(); notice.remove(); }));
  const dismiss = button("", () => notice.remove());
  dismiss.className = "icon";
  dismiss.setAttribute("aria-label", "Dismiss");
  dismiss.innerHTML = '<svg aria-hidden="true"><use href="icons.svg#close"/></svg>';
  notice.append(dismiss);
  list.append(notice);
  while (list.children.length > 3) list.firstChild.remove();
  const end = () => { if (notice.matches(":hover, :focus-within")) setTimeout(end, 1000); else notice.remove(); };
  setTimeout(end, 1000 * SECONDS[kind]);
}

export const complain = (error) => { if (error.name !== "Unreachable" && !/cannot be reached/.test(error.message)) tell(error.message, "bad"); };
export const clear = () => list.replaceChildren();

function button(words, run) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words, className: "small" });
  made.addEventListener("click", run);
  return made;
}
