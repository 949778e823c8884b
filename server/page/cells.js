// The pictures of one job, each in a cell of its own: its preview while it is made, and the picture once it is done. The
// cells fill the stage as well as their shape allows. Knows no job's life.

const box = document.getElementById("cells");
const GAP = 10;
let cells = [];
let shape = 1; // width / height
let chosen = () => {};

/** Call ``listener(picture)`` when a person chooses a picture that is done. */
export const onChosen = (listener) => { chosen = listener; };

/** Show ``count`` empty cells for pictures of this size. */
export function start(count, width, height) {
  shape = width / height || 1;
  cells = Array.from({ length: count }, make);
  box.replaceChildren(...cells.map((cell) => cell.button));
  arrange();
}

export const count = () => cells.length;
export const done = () => cells.filter((cell) => cell.picture).length;

/** Show a rough picture where there is no finished one. */
export function preview(number, source) {
  const cell = cells[number];
  if (!cell || cell.picture) return;
  cell.image.src = source;
  cell.button.className = "cell preview";
}

/** Show a finished picture; more than were expected get cells of their own. */
export function finish(number, picture, source, words) {
  while (cells.length <= number) {
    cells.push(make());
    box.append(cells.at(-1).button);
  }
  const cell = cells[number];
  if (cell.picture) return;
  cell.picture = picture;
  shape = cells.length === 1 ? picture.width / picture.height : shape;
  const image = new Image();
  image.onload = () => {
    image.alt = words;
    cell.image.replaceWith(image);
    cell.image = image;
    cell.button.className = "cell whole";
    cell.button.disabled = false;
  };
  image.src = source;
  arrange();
}

/** The job has ended: cells without a picture go, or say why where there is none at all. */
export function end(words = "") {
  const left = cells.filter((cell) => cell.picture);
  for (const cell of cells) if (!cell.picture) cell.button.remove();
  cells = left;
  if (!left.length) box.replaceChildren(Object.assign(document.createElement("p"), { className: "ended", textContent: words }));
  arrange();
}

function make() {
  const cell = { picture: null, image: new Image() };
  cell.button = Object.assign(document.createElement("button"), { type: "button", className: "cell", disabled: true });
  cell.image.alt = "A picture that is not done";
  cell.button.append(cell.image);
  cell.button.addEventListener("click", () => { if (cell.picture) chosen(cell.picture); });
  return cell;
}

/** Choose the number of columns with the largest cells. */
function arrange() {
  const [width, height] = [box.clientWidth - 2 * GAP, box.clientHeight - 2 * GAP];
  let best = { across: 0, columns: 1 };
  for (let columns = 1; columns <= cells.length; columns += 1) {
    const rows = Math.ceil(cells.length / columns);
    const across = Math.min((width - GAP * (columns - 1)) / columns, shape * (height - GAP * (rows - 1)) / rows);
    if (across > best.across) best = { across, columns };
  }
  box.style.setProperty("--columns", best.columns);
  box.style.setProperty("--across", `${Math.max(1, Math.floor(best.across))}px`);
  box.style.setProperty("--down", `${Math.max(1, Math.floor(best.across / shape))}px`);
}
new ResizeObserver(arrange).observe(box);
