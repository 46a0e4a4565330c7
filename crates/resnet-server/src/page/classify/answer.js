// What one model says about one picture: asked for when wanted, cancelled when not.

import { ServerError } from "./api.js";
import { bytes, count } from "./format.js";

/** How often a server that names a time is asked again before the user has to say so. */
const TRIES = 5;
/** Answers that are about the file, whatever else is asked. */
const OF_THE_FILE = [413, 415, 422];

export class Answer {
  /** `waiting`: for its turn; `asking`; `done`; `failed`. */
  state = "waiting";
  /** What the server found, the last time it did: its picture, times, version. */
  found = null;
  /** What was asked then: `top`, `cam`, `class`. */
  asked = null;
  /** Why the last request failed. */
  error = null;
  #wish = null;
  #cancel = null;
  #tries = 0;
  #ticker;

  /** `server`: the `api`, its `queue` and its `limits`. `changed()` is called at every change. */
  constructor({ file, name }, model, server, changed) {
    Object.assign(this, { file, name, model, server, changed });
  }

  /** Sees to it that the answer has what is wanted; `urgent`: before other pictures. */
  want(wish, urgent = false) {
    if (this.#wish && same(this.#wish, wish) && this.state !== "cancelled") return;
    this.#wish = wish;
    if (this.#has(wish)) {
      if (this.#cancel) this.stop();
      this.#become("done");
    } else if (this.error && !this.found && OF_THE_FILE.includes(this.error.status)) {
      this.#become("failed");
    } else {
      this.#tries = 0;
      this.#ask(urgent);
    }
  }

  /** Asks again for what failed. */
  retry() {
    if (this.state !== "failed" || this.secondsLeft() > 0) return;
    this.#tries = 0;
    this.server.api.begin();
    this.#ask(true);
  }

  /** Takes back what is asked for. */
  stop() {
    this.#cancel?.();
    this.#cancel = null;
    clearTimeout(this.#ticker);
    this.state = "cancelled";
  }

  /** Seconds until the server wants to be asked again. */
  secondsLeft() {
    return Math.max(0, Math.ceil(((this.error?.retryAt ?? 0) - Date.now()) / 1000));
  }

  get busy() {
    return this.state === "waiting" || this.state === "asking";
  }

  #has(wish) {
    if (!this.asked || this.asked.top < wish.top) return false;
    const { top, cam } = this.found.picture;
    return !wish.cam || cam?.class === (wish.class ?? top[0].class);
  }

  #become(state, error = null) {
    this.state = state;
    this.error = error ?? (state === "failed" ? this.error : null);
    this.changed(this);
  }

  #ask(urgent) {
    this.stop();
    const most = this.server.limits.body_bytes;
    if (this.file.size > most) {
      this.#become("failed", new ServerError(tooLarge(this.name, this.file.size, most), 413));
      return;
    }
    const wish = this.#wish;
    this.#cancel = this.server.queue.add((signal) => this.#run(wish, signal), urgent);
    this.#become("waiting");
  }

  async #run(wish, signal) {
    this.#become("asking");
    try {
      const found = await this.server.api.classify(this.model, this.file, wish, signal);
      if (signal.aborted) return;
      Object.assign(this, { found, asked: wish });
      this.#cancel = null;
      this.#become("done");
    } catch (error) {
      if (signal.aborted) return;
      this.#cancel = null;
      this.#become("failed", error);
      if (error.retryAt) {
        this.server.queue.pause(error.retryAt);
        this.#tries += 1;
        this.#count();
      }
    }
  }

  /** Tells the seconds that are left; at the end asks again, a few times. */
  #count() {
    this.#ticker = setTimeout(() => {
      if (this.secondsLeft() > 0) this.#count();
      else if (this.#tries < TRIES) return this.#ask(true);
      this.changed(this);
    }, Math.min(1000, this.error.retryAt - Date.now()));
  }
}

function tooLarge(name, size, most) {
  const unit = bytes(size) === bytes(most) ? (n) => `${count(n)} bytes` : bytes;
  return `${name} has ${unit(size)}; this server takes at most ${unit(most)} `
    + "(resnet serve --max-body). It was not sent.";
}

const same = (a, b) => a.top === b.top && a.cam === b.cam && a.class === b.class;
