// The native API, as the page uses it. Seeds go beyond 2^53, so they are text here. Paths are relative to the page, which
// a proxy may serve below a path of its own.

import * as connection from "./connection.js";

const SEED = /([{,]\s*"seed"\s*:\s*)(\d+)/g; // inside a text, the quotes would be escaped

export class Refused extends Error {
  constructor(status, problem) {
    super(plain(problem.detail) || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.field = problem.field;
  }
}

/** The API's errors name the field and the value first; beside its field, only what is expected matters. */
function plain(detail) {
  const found = /^([\w[\].]+): ([\s\S]*) is not allowed; expected ([\s\S]*)$/.exec(detail ?? "");
  if (!found) return detail;
  if (found[1] === "body") return "This file holds no picture parameters and no workflow that can be read.";
  return `Expected ${found[3]}, not ${found[2]}.`;
}

/** Call the server. Asks for a key where one is needed; a failed connection shows the banner and raises. */
export async function send(path, options = {}) {
  const key = await connection.key();
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name !== "AbortError") connection.lost();
    throw error.name === "AbortError" ? error : new connection.Unreachable("The server cannot be reached.");
  }
  if (response.status === 401) {
    connection.refuseKey(key);
    return send(path, options);
  }
  if (!response.ok) throw new Refused(response.status, await read(response).catch(() => ({})));
  return response;
}

/** JSON with its seeds as texts. */
export const parse = (text) => JSON.parse(text.replace(SEED, '$1"$2"'));
const read = async (response) => parse(await response.text());
const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = async (path, options) => read(await send(path, options));
export const post = async (path, body = {}, options = {}) => read(await send(path, { ...json(body), ...options }));
const remove = async (path) => read(await send(path, { method: "DELETE" }));
const jobPath = (id) => `api/v1/jobs/${encodeURIComponent(id)}`;

/** A picture's address on the server that this page came from, by whatever name that was asked. */
export const address = (picture) => picture.url.replace(/^.*\/(?=api\/v1\/images\/)/, "");
export const thumbnail = (picture, width) => `${address(picture).replace(/\.png$/, ".webp")}?width=${width}`;
export const nameOf = (picture) => address(picture).split("/").pop();

/** A job for these parameters, accepted and not waited for. */
export const generate = (parameters) => post("api/v1/generate", { ...parameters, async: true });
export const job = (id) => get(jobPath(id));
export const jobs = (query) => get(`api/v1/jobs?${new URLSearchParams(query)}`);
export const load = (model) => post(`api/v1/models/${encodeURIComponent(model)}/load`);
export const tokens = (prompt, prompt_syntax, signal) => post("api/v1/tokens", { prompt, prompt_syntax }, { signal });
/** End a job with the pictures that are done. */
export const cancel = (id) => post(`${jobPath(id)}/cancel?keep=true`);
export const deletePicture = (id, picture) => remove(`${jobPath(id)}/images/${nameOf(picture)}`);
/** Hand in a picture, to start from; the answer has its id. */
export const handIn = async (file) => read(await send("api/v1/inputs", { method: "POST", body: file }));

/** The parameters inside a picture or a workflow file that is one request. */
export async function parametersOf(file) {
  const isPicture = file.type.startsWith("image/") || /\.(png|jpe?g|webp)$/i.test(file.name);
  const type = isPicture ? "image/png" : "application/json";
  const answer = await read(await send("api/v1/parameters", { method: "POST", headers: { "Content-Type": type }, body: file }));
  if (!answer.parameters) throw new Error(`${file.name} is a workflow of several samplings or outputs. The form has no fields for it; send it to /api/v1/workflow.`);
  return answer.parameters;
}
