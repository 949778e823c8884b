// What is known of a picture, for people: its facts, the line that AUTOMATIC1111 writes, and a name for its file.

import * as api from "./api.js";
import { labelOf } from "./form.js";
import { copy } from "./menu.js";

const DEFAULTS = { batch_size: 1, denoise: 1, clip_skip: 1, prompt_syntax: "comfyui" };

/** The parameters with which this picture alone is made again. */
export function parametersOf({ job, number }) {
  const made = job.images[number];
  const { count, ...rest } = job.parameters ?? {};
  return { ...rest, seed: made.seed };
}

/** A name that says something: the day, the prompt's first words, the seed. */
export function fileName({ job, number }) {
  const day = new Date(1000 * job.created).toISOString().slice(0, 10);
  const words = (job.parameters?.prompt ?? "picture").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 48).replace(/^-|-$/g, "");
  const place = job.images[number].index ? `_${job.images[number].index + 1}` : "";
  return `${day}_${words || "picture"}_${job.images[number].seed}${place}.png`;
}

/** The parameters that a PNG carries as AUTOMATIC1111 writes them. */
export async function line(item) {
  const data = new Uint8Array(await (await api.send(api.address(item.job.images[item.number]))).arrayBuffer());
  const view = new DataView(data.buffer);
  for (let at = 8; at < data.length; at += 12 + view.getUint32(at)) {
    const kind = new TextDecoder().decode(data.subarray(at + 4, at + 8));
    const chunk = data.subarray(at + 8, at + 8 + view.getUint32(at));
    const end = chunk.indexOf(0);
    if (!["tEXt", "iTXt"].includes(kind) || new TextDecoder("latin1").decode(chunk.subarray(0, end)) !== "parameters") continue;
    if (kind === "tEXt") return new TextDecoder("latin1").decode(chunk.subarray(end + 1));
    const language = chunk.indexOf(0, end + 3);
    return new TextDecoder().decode(chunk.subarray(chunk.indexOf(0, language + 1) + 1));
  }
  throw new Error("This picture carries no parameters as AUTOMATIC1111 writes them.");
}

/** Write the facts into a list of definitions; those that are as always are left out. */
export function write(list, item) {
  const { job, number } = item;
  const made = job.images[number];
  const said = job.parameters ?? {};
  const sampling = said.sampler && `${labelOf("sampler", said.sampler)}${said.scheduler === "normal" ? "" : ` ${labelOf("scheduler", said.scheduler)}`}`;
  const rest = Object.entries(DEFAULTS).filter(([name, usual]) => said[name] !== undefined && said[name] !== usual);
  const loras = (said.loras ?? []).map((lora) => `${lora.name} × ${lora.strength}`).join(", ");
  list.replaceChildren(
    ...fact("Prompt", said.prompt, true),
    ...fact("Negative prompt", said.negative_prompt, true),
    ...fact("Seed", made.seed, true, "number"),
    ...fact("Size", `${made.width} × ${made.height}`),
    ...fact("Sampler", sampling),
    ...fact("Steps", said.steps),
    ...fact("Guidance", said.cfg_scale),
    ...rest.flatMap(([name]) => fact(name.replaceAll("_", " "), said[name])),
    ...fact("LoRAs", loras),
    ...fact("Start", said.image && "from a picture"),
    ...fact("Second pass", said.hires && `${said.hires.scale ?? 2} ×`),
    ...fact("Model", job.model),
    ...fact("Made", new Date(1000 * (job.finished ?? job.created)).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })),
    ...fact("Took", job.timings?.total && `${job.timings.total.toFixed(1)} s`),
  );
}

function fact(name, value, copied = false, kind = "words") {
  if (value === undefined || value === null || value === "") return [];
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  const definition = Object.assign(document.createElement("dd"), { className: copied ? kind : "" });
  definition.append(Object.assign(document.createElement("span"), { textContent: String(value) }));
  if (copied) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "icon copy" });
    button.setAttribute("aria-label", `Copy: ${name.toLowerCase()}`);
    button.innerHTML = '<svg aria-hidden="true"><use href="icons.svg#copy"/></svg>';
    button.addEventListener("click", () => copy(String(value), name));
    definition.append(button);
  }
  return [term, definition];
}
