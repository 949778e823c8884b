// Files that come in: opened, dropped anywhere, or pasted. Texts that are dragged or pasted are left to the browser.

const $ = (id) => document.getElementById(id);
let depth = 0; // drag events come in and out for every element on the way
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

function hide() {
  depth = 0;
  $("drop").hidden = true;
}

/** Call ``take(file)`` with each. */
export function start(take) {
  $("open").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) take($("file").files[0]);
    $("file").value = "";
  });
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    $("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => { if (hasFiles(event) && (depth -= 1) <= 0) hide(); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hide();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}
