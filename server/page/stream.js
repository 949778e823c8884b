// A job's server-sent events, read with the page's key, and read on where a broken connection stopped.

import * as api from "./api.js";
import * as connection from "./connection.js";

/** What happens to a job until it is done. Ends early where ``signal`` says so, or the job is not there. */
export async function* events(id, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await api.send(`api/v1/jobs/${encodeURIComponent(id)}/events?previews=1`, { headers, signal });
      if (response.status === 204) return;
      for await (const event of messages(response.body)) {
        if (event.id) last = event.id;
        yield event;
        if (event.kind === "finished") return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof api.Refused) return;
      if (!(error instanceof connection.Unreachable)) connection.lost(); // the stream broke off
    }
    await Promise.race([connection.online(), new Promise((resolve) => signal.addEventListener("abort", resolve))]);
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
      if (event.data) yield { ...event, data: api.parse(event.data) };
    }
  }
}
