// The server: its models, its answers, its errors, and the token it may ask for.

const TOKEN = "resnet-token";
/** Answers after which the same request may succeed; 0 stands for no answer at all. */
const PASSING = [0, 401, 408, 429, 500, 502, 503, 504];
/** The longest wait that a server can ask for, in seconds. */
const LONGEST_WAIT = 3600;

/** What the server said instead of an answer. */
export class ServerError extends Error {
  /** `retryAt`: when it wants to be asked again, in milliseconds since 1970; or none. */
  constructor(text, status, retryAt) {
    super(text);
    this.status = status;
    this.retryAt = retryAt;
  }

  /** Whether asking again can help. */
  get passes() {
    return PASSING.includes(this.status);
  }
}

/** The token of this tab, or an empty text. Where storage is forbidden it lives with the page. */
let unstored = "";
export function token() {
  try {
    return sessionStorage.getItem(TOKEN) ?? unstored;
  } catch {
    return unstored;
  }
}

export function setToken(text) {
  unstored = text;
  try {
    if (text) sessionStorage.setItem(TOKEN, text);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // `unstored` holds it.
  }
}

/** The address that classifies with a model. `wish`: how many classes; a map or not, of which. */
export function address(model, wish) {
  const path = model.path.map(encodeURIComponent).join("/");
  const url = new URL(`classify/${path}`, document.baseURI);
  url.searchParams.set("top", wish.top);
  if (wish.cam) {
    url.searchParams.set("cam", 1);
    if (wish.class !== undefined) url.searchParams.set("class", wish.class);
  }
  return url.href;
}

/** The type a picture is sent as; the server looks at its bytes. */
export const contentType = (file) =>
  file.type.startsWith("image/") ? file.type : "application/octet-stream";

export class Api {
  #asking = null;
  #declined = false;

  /** `askToken(text)` resolves to a token, or to nothing when the user has none. */
  constructor(askToken) {
    this.askToken = askToken;
  }

  /** The user does something again: a token that was declined may be asked for once more. */
  begin() {
    this.#declined = false;
  }

  /** What the server serves: models, each with `key`, `title` and `path`, and limits. */
  async service() {
    const { body } = await this.#request(new URL("classify", document.baseURI).href, {});
    const versions = (name) => body.models.filter((model) => model.name === name).length;
    for (const model of body.models) {
      const several = versions(model.name) > 1;
      model.path = several ? [model.name, model.version] : [model.name];
      model.key = model.path.join("/");
      model.title = several ? `${model.name}, version ${model.version}` : model.name;
    }
    return body;
  }

  /** The answer for one picture: the server's and the milliseconds until it was here. */
  async classify(model, file, wish, signal) {
    const headers = { "content-type": contentType(file) };
    const init = { method: "POST", body: file, headers, signal };
    const { body, took } = await this.#request(address(model, wish), init);
    const [picture] = body.pictures;
    if (picture.error) throw new ServerError(picture.error, 422);
    return { picture, version: body.version, total: body.ms.total, roundTrip: took };
  }

  async #request(url, init) {
    for (;;) {
      const used = token();
      const headers = { accept: "application/json", ...init.headers };
      if (used) headers.authorization = `Bearer ${used}`;
      const started = performance.now();
      const response = await reached(fetch(url, { ...init, headers, cache: "no-store" }));
      if (response.ok) {
        const body = await readJson(response);
        return { body, took: performance.now() - started };
      }
      const error = await refused(response);
      if (error.status !== 401 || !(await this.#otherToken(used, error.message))) throw error;
      init.signal?.throwIfAborted();
    }
  }

  /** Whether there is another token than `used` now; all requests share one question. */
  async #otherToken(used, text) {
    if (token() !== used) return true;
    if (this.#declined) return false;
    this.#asking ??= this.askToken(text).finally(() => (this.#asking = null));
    const given = await this.#asking;
    if (given) setToken(given);
    else this.#declined = true;
    return Boolean(given);
  }
}

async function reached(request) {
  try {
    return await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?", 0);
  }
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The connection ended within the server's answer.", 0);
  }
}

/** The error of a response: the server's own text where it gives one. */
async function refused(response) {
  const body = await response.json().catch(() => ({}));
  const text = body.error ?? `The server answered ${response.status} ${response.statusText}.`;
  return new ServerError(text, response.status, retryAt(response.headers.get("retry-after")));
}

/** `Retry-After` in seconds or as a date, as a time; none where it says nothing. */
function retryAt(header) {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  const at = Number.isNaN(seconds) ? Date.parse(header) : Date.now() + 1000 * seconds;
  return Number.isNaN(at) ? undefined : Math.min(at, Date.now() + 1000 * LONGEST_WAIT);
}
