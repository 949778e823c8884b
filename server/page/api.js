// The native API, as the page uses it. Seeds go beyond 2^53, so they are text here. Paths are relative to the page, which
// a proxy may serve below a path of its own.

const SEED = /([{,]\s*"seed"\s*:\s*)(\d+)/g; // inside a text, the quotes would be escaped

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.field = problem.field;
  }
}

const GENERATE = "api/v1/generate";

let askForKey = async () => null;
export const onKeyNeeded = (ask) => { askForKey = ask; };

async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem("key");
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 401) {
    const given = await askForKey();
    if (given) {
      sessionStorage.setItem("key", given);
      return send(path, options);
    }
  }
  if (!response.ok) throw new Refused(response.status, await read(response).catch(() => ({})));
  return response;
}

async function read(response) {
  return JSON.parse((await response.text()).replace(SEED, '$1"$2"'));
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = async (path) => read(await send(path));
export const post = async (path, body = {}) => read(await send(path, json(body)));

/** A picture's address on the server that this page came from, by whatever name that was asked. */
export const address = (picture) => picture.url.replace(/^.*\/(?=api\/v1\/images\/)/, "");

/** A job for these parameters, accepted and not waited for. */
export const generate = (parameters) => post(GENERATE, { ...parameters, async: true });
export const cancel = (id) => post(`api/v1/jobs/${encodeURIComponent(id)}/cancel`);
export const job = (id) => get(`api/v1/jobs/${encodeURIComponent(id)}`);
export const jobs = (query) => get(`api/v1/jobs?${new URLSearchParams(query)}`);
export const load = (model) => post(`api/v1/models/${encodeURIComponent(model)}/load`);

/** The parameters inside a PNG or a workflow file that is one request. */
export async function parametersOf(file) {
  const type = file.name.toLowerCase().endsWith(".png") || file.type === "image/png" ? "image/png" : "application/json";
  const answer = await read(await send("api/v1/parameters", { method: "POST", headers: { "Content-Type": type }, body: file }));
  if (!answer.parameters) throw new Error(`${file.name} is a workflow of several samplings or outputs. The form has no fields for it; send it to /api/v1/workflow.`);
  return answer.parameters;
}

/** Which fields there are, with their defaults and ranges, as the API itself describes them. */
export async function fields() {
  const document = await get("openapi.json");
  let schema = document.paths[`/${GENERATE}`].post.requestBody.content["application/json"].schema;
  if (schema.$ref) schema = document.components.schemas[schema.$ref.split("/").pop()];
  return schema.properties;
}

/** What happens to a job until it is done; goes on where a broken connection stopped. */
export async function* events(id, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await send(`api/v1/jobs/${encodeURIComponent(id)}/events?previews=1`, { headers, signal });
      for await (const event of messages(response.body)) {
        if (event.id) last = event.id;
        yield event;
        if (event.kind === "finished") return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r\n", "\n");
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = { kind: "message", id: "", data: "" };
      for (const line of part.split("\n")) {
        if (line.startsWith("event:")) event.kind = line.slice(6).trim();
        if (line.startsWith("id:")) event.id = line.slice(3).trim();
        if (line.startsWith("data:")) event.data += line.slice(5).trim();
      }
      if (event.data) yield { ...event, data: JSON.parse(event.data.replace(SEED, '$1"$2"')) };
    }
  }
}
