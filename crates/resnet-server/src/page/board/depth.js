// Gradients over depth, at a step that a slider chooses: whether they vanish or explode on the way
// to the input, and how training changes that.

import * as api from "./api.js";
import { Chart, onTheme } from "./chart.js";
import { el, framed } from "./dom.js";
import { number, whole } from "./format.js";

const MEASURES = [
  { name: "activation", label: "Gradient of responses, dL/dy", unit: "L2 norm" },
  { name: "weight", label: "Gradient of weights, dL/dw", unit: "L2 norm" },
  { name: "response", label: "Responses y", unit: "standard deviation" },
];

/** Looks a second while it plays. */
const SPEED = 8;

/** The section; hidden where no run was looked into. */
export class Depth {
  constructor(store) {
    this.store = store;
    this.measure = MEASURES[0];
    /** By run: its looks, how many were known of then, and of which reading. */
    this.known = new Map();
    /** How far, of the looks of the run with most of them; at the last it stays there. */
    this.part = 1;
    this.chart = new Chart({
      title: this.measure.label, unit: this.measure.unit, log: true, format: number,
      tick: number, points: true,
    });
    this.chart.addEventListener("point", ({ detail }) => {
      const near = detail === null ? null : Math.round(detail);
      this.chart.crosshair(near, true);
    });
    this.chart.addEventListener("zoom", ({ detail }) => {
      this.zoomed = detail;
      this.draw();
    });
    this.#build();
    this.draw = framed(() => this.#draw());
    for (const what of ["runs", "shown", "curves"]) {
      store.addEventListener(what, () => this.#refresh());
    }
    onTheme(this.draw);
  }

  #build() {
    const options = MEASURES.map(({ name, label }) => el("option", { value: name }, label));
    const choose = el("select", {
      id: "measure",
      onchange: () => {
        this.measure = MEASURES.find(({ name }) => name === choose.value);
        this.draw();
      },
    }, ...options);
    this.slider = el("input", {
      type: "range", id: "look", min: 0, max: 1, value: 1, step: 1,
      oninput: () => {
        this.#play(false);
        this.part = Number(this.slider.value) / this.#most();
        this.draw();
      },
    });
    this.where = el("output", { htmlFor: "look" });
    this.button = el("button", { type: "button", onclick: () => this.#play(!this.timer) }, "Play");
    this.element = el(
      "section",
      { "aria-labelledby": "depth", hidden: true },
      el("h2", { id: "depth" }, "Gradients over depth"),
      el(
        "div",
        { className: "controls" },
        el("label", {}, "Show ", choose),
        el("label", { className: "slide wide" }, "Step", this.slider, this.where),
        this.button,
      ),
      this.chart.element,
    );
  }

  async #refresh() {
    const runs = this.store.shown.filter((run) => run.told.looks > 0);
    this.element.hidden = !runs.length;
    for (const id of this.known.keys()) if (!this.store.runs.has(id)) this.known.delete(id);
    for (const run of runs) {
      const known = this.known.get(run.id);
      const { looks, reading } = run.told;
      if (known?.count === looks && known.reading === reading) continue;
      // Looks are seldom; while they are read nothing else asks.
      this.known.set(run.id, { looks: [], layers: [], ...known, count: looks, reading });
      try {
        Object.assign(this.known.get(run.id), await api.read(run.id, "gradients"));
      } catch {
        this.known.delete(run.id);
      }
    }
    this.draw();
  }

  /** Shown runs with looks. */
  #runs() {
    const all = this.store.shown.map((run) => ({ run, ...this.known.get(run.id) }));
    return all.filter(({ looks }) => looks?.length);
  }

  #play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.#next(), 1000 / SPEED) : null;
    this.button.textContent = on ? "Pause" : "Play";
    this.button.setAttribute("aria-pressed", String(on));
    if (on && this.part >= 1) this.part = 0;
    if (on) this.draw();
  }

  /** Looks behind the first, of the run with most of them. */
  #most() {
    return Math.max(1, ...this.#runs().map(({ looks }) => looks.length - 1));
  }

  #next() {
    this.part = Math.min(1, this.part + 1 / this.#most());
    if (this.part >= 1) this.#play(false);
    this.draw();
  }

  #draw() {
    const runs = this.#runs();
    const last = Math.max(1, ...runs.map(({ looks }) => looks[looks.length - 1].step));
    const step = Math.round(this.part * last);
    this.slider.max = this.#most();
    this.slider.value = Math.round(this.part * this.#most());
    this.slider.setAttribute("aria-valuetext", `step ${whole(step)}`);
    this.where.textContent = whole(step);
    const name = this.measure.name;
    let [low, high] = [Infinity, -Infinity];
    let [deepest, layers] = [2, []];
    const lines = runs.map(({ run, looks, layers: names }) => {
      for (const look of looks) {
        for (const value of look[name]) {
          if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)];
        }
      }
      if (names.length > deepest) [deepest, layers] = [names.length, names];
      const until = looks.filter((look) => look.step <= step);
      const look = until[until.length - 1] ?? looks[0];
      const x = Float64Array.from(names, (_, i) => i + 1);
      const y = Float32Array.from(look[name], (value) => value ?? NaN);
      return { run, name: run.id, look: run.look, x, y };
    });
    this.chart.rename(this.measure.label, this.measure.unit);
    this.chart.set({
      lines,
      // The same for all steps, so that what moves is the network.
      range: low < high ? [low / 1.3, high * 1.3] : null,
      zoomed: this.zoomed,
      axis: {
        domain: [1, deepest],
        label: "convolution, from the input",
        tick: (x) => (Number.isInteger(x) ? String(x) : ""),
        format: (x) => {
          const layer = layers[Math.round(x) - 1];
          return `convolution ${Math.round(x)}${layer ? `, ${layer}` : ""}`;
        },
      },
      empty: "Nothing was looked into yet",
    });
  }
}
