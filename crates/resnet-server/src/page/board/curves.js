// The curves of all runs that are shown, over steps, epochs or time.

import { Chart, onTheme } from "./chart.js";
import { el, framed } from "./dom.js";
import { duration, number, percent, timeUnit, whole } from "./format.js";
import { before, smooth, ticks } from "./scale.js";

/** What is drawn: its `name` among the points of steps, or, `evaluated`, of evaluations. */
const CHARTS = [
  { name: "loss", title: "Training loss", unit: "nats", logs: true, smooths: true },
  { name: "eval_top1", evaluated: true, title: "Top-1", unit: "%", part: true },
  { name: "top1", title: "Training top-1", unit: "%, augmented", part: true, smooths: true },
  { name: "eval_loss", evaluated: true, title: "Loss", unit: "nats", logs: true },
  { name: "lr", title: "Learning rate", unit: "", zero: true },
  { name: "images_per_s", title: "Speed", unit: "images/s", zero: true, smooths: true },
];

const AXES = [
  { name: "step", label: "Steps" },
  { name: "epoch", label: "Epochs" },
  { name: "seconds", label: "Time" },
];

const KEY = "resnet-board-curves";

/** The section. */
export class Curves {
  constructor(store) {
    this.store = store;
    this.settings = { axis: "step", smoothing: 0.6, log: true };
    Object.assign(this.settings, JSON.parse(sessionStorage.getItem(KEY) ?? "{}"));
    this.zoomed = null;
    this.smoothed = new Map();
    this.charts = CHARTS.map((spec) => {
      const format = spec.part ? (v) => percent(v, 2) : number;
      const tick = spec.part ? (v) => `${Number((100 * v).toFixed(2))} %` : number;
      const bounds = spec.part ? { most: 1 } : {};
      const chart = new Chart({ ...spec, ...bounds, format, tick, points: spec.evaluated });
      chart.addEventListener("point", ({ detail }) => {
        for (const other of this.charts) other.crosshair(detail, other === chart);
      });
      chart.addEventListener("zoom", ({ detail }) => this.zoom(detail));
      return chart;
    });
    this.element = el(
      "section",
      { "aria-labelledby": "curves" },
      el("h2", { id: "curves" }, "Curves"),
      this.#controls(),
      el("div", { className: "charts" }, ...this.charts.map((chart) => chart.element)),
    );
    this.draw = framed(() => this.#draw());
    for (const what of ["runs", "curves", "shown"]) store.addEventListener(what, this.draw);
    onTheme(this.draw);
  }

  #controls() {
    const { settings } = this;
    const keep = () => {
      sessionStorage.setItem(KEY, JSON.stringify(settings));
      this.draw();
    };
    const axes = AXES.map(({ name, label }) => {
      const choose = () => {
        settings.axis = name;
        this.zoom(null);
        keep();
      };
      const input = el("input", { type: "radio", name: "axis", value: name, onchange: choose });
      input.checked = settings.axis === name;
      return el("label", {}, input, el("span", {}, label));
    });
    this.hint = el("p", { className: "hint" }, "Drag to zoom, double-click for all.");
    const legend = el("legend", { className: "hidden" }, "Horizontal axis");
    const shown = el("output", { htmlFor: "smoothing" }, percent(settings.smoothing, 0));
    const smoothing = el("input", {
      type: "range", id: "smoothing", min: 0, max: 1, step: 0.05, value: settings.smoothing,
      oninput: () => {
        settings.smoothing = Number(smoothing.value);
        shown.textContent = percent(settings.smoothing, 0);
        keep();
      },
    });
    const log = el("input", {
      type: "checkbox", id: "log", checked: settings.log,
      onchange: () => {
        settings.log = log.checked;
        keep();
      },
    });
    const all = () => this.zoom(null);
    this.reset = el("button", { type: "button", className: "end", hidden: true, onclick: all }, "Whole runs");
    return el(
      "div",
      { className: "controls" },
      el("fieldset", { className: "choice" }, legend, ...axes),
      el("label", { className: "slide" }, "Smoothing", smoothing, shown),
      el("label", { className: "check" }, log, "Logarithmic loss"),
      this.hint,
      this.reset,
    );
  }

  zoom(range) {
    this.zoomed = range;
    this.reset.hidden = !range;
    this.hint.hidden = Boolean(range);
    if (range) {
      for (const run of this.store.shown) {
        if (!run.points?.step.length) continue;
        const [first, last] = range.map((at, end) => this.#step(run, at, end));
        if (last > first) this.store.look(run, first, last);
      }
    }
    this.draw();
  }

  /** The step at a place of the axis, or the next one. */
  #step(run, at, next) {
    if (this.settings.axis === "step") return at;
    const { step } = run.points;
    const i = before(run.points[this.settings.axis], at) + next;
    return i < 0 ? 0 : step[Math.min(i, step.length - 1)];
  }

  /** The points of a run: in detail, where that is known of all that is seen. */
  #points(run) {
    const { points, detail } = run;
    if (!this.zoomed || !points || !detail?.points || detail.reading !== points.reading) {
      return points;
    }
    const [first, last] = this.zoomed.map((at, end) => this.#step(run, at, end));
    const end = points.step[points.step.length - 1];
    const covers = detail.first <= Math.max(1, first) && detail.last >= Math.min(end, last);
    return covers ? detail.points : points;
  }

  #smooth(run, points, name) {
    const { smoothing } = this.settings;
    const key = `${run.id} ${name}`;
    const known = this.smoothed.get(key);
    if (known?.of === points && known.smoothing === smoothing) return known.values;
    const values = smooth(points[name], smoothing);
    this.smoothed.set(key, { of: points, smoothing, values });
    return values;
  }

  #draw() {
    const { settings, store } = this;
    const runs = store.shown.filter((run) => run.points);
    const axis = this.#axis(runs);
    const splits = new Set(runs.map((run) => run.told.split).filter(Boolean));
    const split = splits.size === 1 ? [...splits][0] : "evaluation";
    CHARTS.forEach((spec, i) => {
      if (spec.evaluated) this.charts[i].rename(spec.title, `${spec.unit}, ${split} images`);
      const lines = runs.flatMap((run) => this.#line(run, spec));
      this.charts[i].set({
        lines,
        axis,
        zoomed: this.zoomed,
        log: Boolean(spec.logs) && settings.log,
        empty: runs.length ? "Nothing was told yet" : "No run is shown",
      });
    });
  }

  #line(run, spec) {
    const all = spec.evaluated ? run.evaluations : this.#points(run);
    const y = all?.[spec.name];
    if (!y?.length) return [];
    const line = { run, name: run.id, look: run.look, x: all[this.settings.axis], y };
    if (all[`${spec.name}_low`]) {
      line.low = all[`${spec.name}_low`];
      line.high = all[`${spec.name}_high`];
    }
    if (spec.smooths && this.settings.smoothing > 0) {
      line.faint = y;
      line.y = this.#smooth(run, all, spec.name);
    }
    return [line];
  }

  #axis(runs) {
    const { axis } = this.settings;
    const ends = runs.flatMap((run) => {
      const own = [run.points[axis], run.evaluations[axis]];
      return own.map((list) => list?.[list.length - 1] ?? 0);
    });
    const most = Math.max(...ends, axis === "step" ? 1 : 1e-3);
    const domain = [0, most];
    if (axis === "step") {
      return { domain, label: "step", tick: whole, format: (x) => `step ${whole(x)}` };
    }
    if (axis === "epoch") {
      return { domain, label: "epoch", tick: number, format: (x) => `epoch ${number(x)}` };
    }
    const [unit, length] = timeUnit(this.zoomed ? this.zoomed[1] : most);
    const [from, to] = (this.zoomed ?? domain).map((seconds) => seconds / length);
    return {
      domain,
      ticks: ticks(from, to, 6).map((value) => value * length),
      label: `time of training (${unit})`,
      tick: (x) => number(x / length),
      format: (x) => duration(x),
    };
  }
}
