// The server: its token, its answers, and what it tells by itself.

const KEY = "resnet-board-token";

/** The token: from the fragment of the address, which no server sees, then of this tab. */
let token = "";

/** Takes the token out of the address, so that it is neither seen nor copied with it. */
export function findToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    keepToken(given);
    history.replaceState(null, "", location.pathname);
  } else {
    token = sessionStorage.getItem(KEY) ?? "";
  }
  return token !== "";
}

export function keepToken(given) {
  token = given.trim();
  sessionStorage.setItem(KEY, token);
}

/** What was answered instead of what was asked for. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  const reply = await fetch(path, { ...options, headers, cache: "no-store" });
  if (reply.ok) return reply;
  const body = await reply.json().catch(() => ({}));
  throw new Refused(reply.status, body.error ?? `status ${reply.status}`);
}

const ofRun = (id, what) => `/runs/${encodeURIComponent(id)}/${what}`;

export const recipes = async () => (await ask("/recipes")).json();

/** What is told of a run under a name, with a query. */
export async function read(id, what, query = {}) {
  const parameters = new URLSearchParams(query).toString();
  return (await ask(ofRun(id, what) + (parameters && `?${parameters}`))).json();
}

/** The strip of small pictures of a run. */
export async function pictures(id) {
  return createImageBitmap(await (await ask(ofRun(id, "pictures.png"))).blob());
}

/** Asks a run to stop or to go on. */
export const act = (id, what) => ask(ofRun(id, what), { method: "POST" });

/**
 * Calls `on` with every change until the connection ends, then throws. The browser's own reader
 * of such streams sends no token.
 */
export async function stream(on) {
  const reply = await ask("/events");
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the connection has ended");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) on(JSON.parse(data.slice(6)));
    }
  }
}
