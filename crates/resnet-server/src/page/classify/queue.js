// Requests, a few at a time.

export class Queue {
  #waiting = [];
  #running = 0;
  #until = 0;
  #timer;

  /** `width`: how many run at once. */
  constructor(width) {
    this.width = width;
  }

  /**
   * Runs `job(signal)` when it is its turn, before all others if it is urgent. Returns a function
   * that takes it out of the queue, or aborts it.
   */
  add(job, urgent = false) {
    const controller = new AbortController();
    const entry = { job, controller };
    if (urgent) this.#waiting.unshift(entry);
    else this.#waiting.push(entry);
    queueMicrotask(() => this.#next());
    return () => {
      controller.abort();
      this.#waiting = this.#waiting.filter((other) => other !== entry);
    };
  }

  /** Starts nothing before a time, in milliseconds since 1970. */
  pause(until) {
    this.#until = Math.max(this.#until, until);
  }

  #next() {
    const wait = this.#until - Date.now();
    if (wait > 0) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#next(), wait);
      return;
    }
    while (this.#running < this.width && this.#waiting.length > 0) {
      const { job, controller } = this.#waiting.shift();
      this.#running += 1;
      job(controller.signal).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }
}
