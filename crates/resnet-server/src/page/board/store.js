// What is known of all runs, and how it is kept up to date.

import * as api from "./api.js";
import { before } from "./scale.js";

/** Colours in the palette, the last a grey. */
const COLOURS = 7;
/** Kinds of lines, so that colours come again in another form. */
const DASHES = [[], [7, 4], [2, 3]];
/** Runs that are shown at first. */
const SHOWN = 10;
/** Least time between two requests for the same run's curves. */
const PAUSE = 900;

const NUMBERS = ["loss", "top1", "lr", "images_per_s", "wait"];
/** Of evaluations: names here and there. */
const EVALUATED = { loss: "eval_loss", top1: "eval_top1" };

/** Numbers of JSON, whose `null` is no number. */
function numbers(list, Kind = Float32Array) {
  return Kind.from(list, (value) => value ?? NaN);
}

/** A list cut off at `from`, and what follows. */
function joined(list, from, more) {
  const out = new more.constructor(from + more.length);
  if (from) out.set(list.subarray(0, from));
  out.set(more, from);
  return out;
}

/** One run: `told` is the server's summary, `points` and `evaluations` its curves. */
class Run {
  constructor(id, order) {
    this.id = id;
    this.look = {
      colour: order % COLOURS,
      dash: DASHES[Math.floor(order / COLOURS) % DASHES.length],
    };
    this.shown = order < SHOWN;
    this.told = {};
    this.points = null;
    this.evaluations = null;
    this.entered = [];
    this.warnings = [];
    /** The version that the curves are of. */
    this.version = -1;
    this.asking = false;
    this.asked = -Infinity;
    /** A part in all its detail, while it is looked at. */
    this.detail = null;
    this.notice = 0;
  }

  /** What comes from the server of curves; only what is new of the points. */
  take(series) {
    const old = this.points;
    const from = old && old.reading === series.reading && old.width === series.width
      ? series.from : 0;
    const join = (name, list, Kind) =>
      joined(from ? old[name] : null, from, numbers(list, Kind));
    const points = {
      reading: series.reading,
      width: series.width,
      settled: series.settled,
      step: join("step", series.step, Float64Array),
      epoch: join("epoch", series.epoch),
      seconds: join("seconds", series.seconds),
    };
    for (const name of NUMBERS) {
      points[name] = join(name, series[name]);
      if (series.low) {
        points[`${name}_low`] = join(`${name}_low`, series.low[name]);
        points[`${name}_high`] = join(`${name}_high`, series.high[name]);
      }
    }
    this.points = points;
    const evaluated = { step: numbers(series.evaluations.step, Float64Array) };
    for (const [name, list] of Object.entries(series.evaluations)) {
      if (name !== "step") evaluated[EVALUATED[name] ?? name] = numbers(list);
    }
    this.evaluations = evaluated;
    this.entered = series.entered;
    this.warnings = series.warnings;
  }

  /** Where a step is on another axis, between the points that are known. */
  at(axis, step) {
    const { points } = this;
    if (axis === "step" || !points?.step.length) return step;
    const i = before(points.step, step);
    const [steps, places] = [points.step, points[axis]];
    if (i < 0) return (places[0] * step) / Math.max(1, steps[0]);
    if (i + 1 >= steps.length) return places[i];
    const part = (step - steps[i]) / (steps[i + 1] - steps[i]);
    return places[i] + part * (places[i + 1] - places[i]);
  }
}

/** All runs; listeners hear of `runs` (summaries), `curves` (by run), `shown` and `state`. */
export class Store extends EventTarget {
  runs = new Map();
  actions = false;
  cut = null;
  /** Whether the server is heard: `connecting`, `live`, `lost`, or `refused`. */
  state = "connecting";
  /** Why it refuses. */
  problem = "";
  /** Runs get their looks in the order in which they are seen first. */
  #seen = 0;

  tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }

  get list() {
    return [...this.runs.values()];
  }

  get shown() {
    return this.list.filter((run) => run.shown);
  }

  /** Follows the server for as long as the page is open. */
  async follow() {
    for (let pause = 500; ; pause = Math.min(pause * 2, 10_000)) {
      try {
        await api.stream((changes) => {
          pause = 250;
          this.#become("live");
          this.#change(changes);
        });
      } catch (error) {
        if (error.status === 401 || error.status === 403) {
          this.problem = error.status === 403 ? error.message : "";
          this.#become("refused");
          return;
        }
        this.#become("lost");
      }
      await new Promise((resume) => setTimeout(resume, pause));
    }
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.tell("state");
  }

  #change({ runs, all, actions, cut }) {
    const known = new Set(all);
    for (const id of this.runs.keys()) if (!known.has(id)) this.runs.delete(id);
    this.actions = actions;
    this.cut = cut;
    // The youngest first, so that those are shown where there are many.
    const young = [...runs].sort((a, b) => (b.began ?? 0) - (a.began ?? 0));
    for (const told of young) {
      let run = this.runs.get(told.id);
      if (!run) {
        run = new Run(told.id, this.#seen++);
        // What happened before is no news.
        run.notice = told.notice?.number ?? 0;
        this.runs.set(told.id, run);
      }
      run.told = told;
    }
    this.tell("runs");
    this.refresh();
  }

  /** Asks for the curves of shown runs that have changed. */
  refresh() {
    if (document.hidden) return;
    for (const run of this.shown) this.#refresh(run);
  }

  async #refresh(run) {
    if (run.asking || run.version === run.told.version) return;
    run.asking = true;
    const wait = run.told.read ? run.asked + PAUSE - performance.now() : 0;
    if (wait > 0) await new Promise((resume) => setTimeout(resume, wait));
    run.asked = performance.now();
    const { version } = run.told;
    const { reading = "", settled = 0, width = 0 } = run.points ?? {};
    try {
      const query = run.points ? { reading, from: settled, width } : {};
      run.take(await api.read(run.id, "series", query));
      run.version = version;
      this.tell("curves", run);
    } catch {
      // It may be gone, which is told by itself, or the server is; either way it is asked again.
      run.asked = performance.now() + PAUSE;
    }
    run.asking = false;
    if (this.runs.has(run.id) && run.shown && this.state === "live") this.#refresh(run);
  }

  show(run, shown) {
    run.shown = shown;
    this.refresh();
    this.tell("shown");
  }

  /** Shows the runs that a test picks, and no others. */
  showOnly(test) {
    for (const run of this.list) run.shown = test(run);
    this.refresh();
    this.tell("shown");
  }

  /** Fetches a part of a run between two steps, where what is known of it is coarser. */
  async look(run, first, last) {
    if (!run.points || run.points.width === 1) return;
    const has = run.detail;
    if (has && has.reading === run.points.reading && has.first <= first && has.last >= last) {
      return;
    }
    const wide = Math.max(1, last - first);
    const [from, to] = [Math.max(0, Math.floor(first - wide / 2)), Math.ceil(last + wide / 2)];
    run.detail = { reading: run.points.reading, first: from, last: to, points: null };
    const part = run.detail;
    try {
      const series = await api.read(run.id, "series", { first: from, last: to });
      if (run.detail !== part || series.reading !== part.reading) return;
      if (series.width >= run.points.width) return;
      part.points = { step: numbers(series.step, Float64Array) };
      for (const name of NUMBERS) {
        part.points[name] = numbers(series[name]);
        if (!series.low) continue;
        part.points[`${name}_low`] = numbers(series.low[name]);
        part.points[`${name}_high`] = numbers(series.high[name]);
      }
      for (const axis of ["epoch", "seconds"]) {
        part.points[axis] = Float64Array.from(part.points.step, (step) => run.at(axis, step));
      }
      this.tell("curves", run);
    } catch {
      run.detail = null;
    }
  }
}
