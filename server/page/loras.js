// The LoRAs that the models folders hold, to choose from, each with its strength.

import * as api from "./api.js";
import * as parts from "./parts.js";
import { menu } from "./menu.js";

/** Let a person choose a LoRA; one that is chosen already gets another strength. */
export async function choose() {
  const { models } = await api.get("api/v1/models?kind=lora");
  const plain = (name) => name.replace(/\.safetensors$/, "");
  menu("LoRAs", models.length ? "" : "There are none in the models folders, where they belong into loras.", models.map(({ name, size }) => ({
    words: plain(name), hint: `${(size / 2 ** 20).toFixed(1)} MB`, run: () => strength(plain(name)),
  })));
}

function strength(name) {
  menu(name, "1 is as strong as it was trained; less is weaker, and below 0 the opposite.", [1, 0.8, 0.6, 0.4].map((value) => ({
    words: String(value), run: () => add(name, value),
  })), { label: "Another strength", words: "Add", type: "number", run: (text) => add(name, Number(text)) });
}

function add(name, value) {
  const others = (parts.get().loras ?? []).filter((lora) => lora.name !== name);
  parts.add({ loras: [...others, { name, strength: value }] });
  document.getElementById("menu").close();
}
