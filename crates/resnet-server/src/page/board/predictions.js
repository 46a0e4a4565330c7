// What the same few pictures are taken for, evaluation by evaluation.

import * as api from "./api.js";
import { colours, onTheme } from "./chart.js";
import { el, framed, text } from "./dom.js";
import { percent, whole } from "./format.js";

/** Evaluations a second while it plays. */
const SPEED = 6;
/** Pixels of a small picture on the page. */
const SIDE = 72;

/** The section; hidden where no run tells predictions. */
export class Predictions {
  constructor(store) {
    this.store = store;
    this.run = null;
    this.told = null;
    this.strip = null;
    /** Which evaluation is seen; the last, also when another comes, while it is null. */
    this.at = null;
    this.cards = [];
    this.#build();
    this.draw = framed(() => this.#draw());
    for (const what of ["runs", "shown"]) store.addEventListener(what, () => this.#refresh());
    onTheme(this.draw);
  }

  #build() {
    this.choose = el("select", {
      id: "of",
      onchange: () => {
        this.#use(this.store.runs.get(this.choose.value));
      },
    });
    this.slider = el("input", {
      type: "range", id: "evaluation", min: 0, max: 0, value: 0, step: 1,
      oninput: () => {
        this.#play(false);
        this.#go(Number(this.slider.value));
      },
    });
    this.where = el("output", { htmlFor: "evaluation" });
    this.button = el("button", { type: "button", onclick: () => this.#play(!this.timer) }, "Play");
    this.about = el("p", { className: "hint" });
    this.grid = el("ul", { className: "predictions" });
    this.element = el(
      "section",
      { "aria-labelledby": "predictions", hidden: true },
      el("h2", { id: "predictions" }, "The same pictures over time"),
      el(
        "div",
        { className: "controls" },
        el("label", {}, "Run ", this.choose),
        el("label", { className: "slide wide" }, "Evaluation", this.slider, this.where),
        this.button,
      ),
      this.grid,
      this.about,
    );
  }

  #refresh() {
    const runs = this.store.list.filter((run) => run.told.predictions > 0);
    this.element.hidden = !runs.length;
    if (!runs.length) return;
    const ids = runs.map((run) => run.id);
    if ([...this.choose.options].map((option) => option.value).join("\n") !== ids.join("\n")) {
      this.choose.replaceChildren(...ids.map((id) => el("option", { value: id }, id)));
    }
    const kept = this.run && ids.includes(this.run.id) ? this.run : null;
    const shown = runs.filter((run) => run.shown);
    this.#use(kept ?? shown[0] ?? runs[0]);
  }

  async #use(run) {
    const other = this.run !== run;
    this.run = run;
    this.choose.value = run.id;
    const { predictions, reading } = run.told;
    const key = `${run.id} ${reading} ${predictions}`;
    if (key === this.key) return;
    this.key = key;
    if (other) {
      this.strip = null;
      this.at = null;
    }
    try {
      const told = await api.read(run.id, "predictions");
      if (this.key !== key) return;
      this.told = told;
      this.strip ??= await api.pictures(run.id).catch(() => null);
    } catch {
      this.key = null;
      return;
    }
    this.draw();
  }

  get #last() {
    return (this.told?.evaluations.length ?? 0) - 1;
  }

  #go(at) {
    this.at = at >= this.#last ? null : at;
    this.draw();
  }

  #play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.#next(), 1000 / SPEED) : null;
    this.button.textContent = on ? "Pause" : "Play";
    this.button.setAttribute("aria-pressed", String(on));
    if (on && this.at === null) this.#go(0);
  }

  #next() {
    if (this.at === null) return this.#play(false);
    this.#go(this.at + 1);
  }

  #draw() {
    if (!this.told || this.#last < 0) return;
    const { evaluations, split } = this.told;
    const at = Math.min(this.at ?? this.#last, this.#last);
    this.slider.max = this.#last;
    this.slider.value = at;
    const now = evaluations[at];
    const epoch = Number(now.epoch.toFixed(2));
    this.slider.setAttribute("aria-valuetext", `epoch ${epoch}, step ${whole(now.step)}`);
    text(this.where, `epoch ${epoch}, step ${whole(now.step)}`);
    const all = evaluations.flatMap(({ pictures }) => pictures.map(({ place }) => place));
    const places = [...new Set(all)].sort((a, b) => a - b);
    if (this.cards.length !== places.length) {
      this.cards = places.map(() => this.#card());
      this.grid.replaceChildren(...this.cards.map((card) => card.element));
    }
    places.forEach((place, i) => this.#fill(this.cards[i], place, at));
    const right = now.pictures.filter((picture) => picture.top[0]?.[0] === picture.label).length;
    text(
      this.about,
      `${right} of ${now.pictures.length} right. The pictures are evenly spaced over the ${split} `
        + "images and stay the same for the whole run. Below each: the probability of its class at "
        + "every evaluation; a bar that hangs is one at which another class came first.",
    );
  }

  #card() {
    const canvas = el("canvas", { className: "small", role: "img" });
    const history = el("canvas", { className: "history", role: "img" });
    const label = el("span", { className: "label" });
    const verdict = el("span", { className: "verdict" });
    const bars = [0, 1, 2].map(() => {
      const [name, value] = [el("span", { className: "name" }), el("span", { className: "value" })];
      const bar = el("span", { className: "amount" });
      return { name, value, bar, row: el("li", {}, bar, name, value) };
    });
    const words = el("p", { className: "truth" }, verdict, label);
    const list = el("ol", {}, ...bars.map(({ row }) => row));
    const side = el("div", { className: "said" }, words, list);
    const element = el("li", {}, el("div", { className: "shown" }, canvas, side), history);
    history.addEventListener("pointerdown", (event) => {
      const box = history.getBoundingClientRect();
      this.#play(false);
      this.#go(Math.round(((event.clientX - box.left) / box.width) * this.#last));
    });
    return { element, canvas, history, label, verdict, bars };
  }

  #fill(card, place, at) {
    const { evaluations } = this.told;
    const of = (evaluation) => evaluation.pictures.find((picture) => picture.place === place);
    const known = evaluations.map(of).find((picture) => picture);
    const picture = of(evaluations[at]);
    const top = picture?.top ?? [];
    const right = top[0]?.[0] === known.label;
    text(card.label, known.label);
    text(card.verdict, !top.length ? "–" : right ? "✓" : "✗");
    card.verdict.className = `verdict ${right ? "right" : "wrong"}`;
    card.verdict.title = right ? "taken for its class" : "taken for another class";
    card.bars.forEach(({ row, name, value, bar }, i) => {
      const guess = top[i];
      row.className = guess?.[0] === known.label ? "own" : "";
      text(name, guess ? guess[0] : "");
      text(value, guess ? percent(guess[1], guess[1] >= 0.9995 ? 0 : 1) : "");
      bar.style.width = `${guess ? 100 * guess[1] : 0}%`;
    });
    this.#picture(card, place, known);
    this.#history(card, place, at, known);
  }

  #picture({ canvas }, place, { label, index }) {
    const density = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(SIDE * density);
    canvas.setAttribute("aria-label", `picture ${index}, ${label}`);
    canvas.title = `picture ${index} of ${this.told.split}`;
    const paint = canvas.getContext("2d");
    const side = this.strip?.height;
    if (!side || (place + 1) * side > this.strip.width) {
      paint.fillStyle = colours().grid;
      paint.fillRect(0, 0, canvas.width, canvas.height);
      return;
    }
    // Small pictures keep their pixels.
    paint.imageSmoothingEnabled = side >= 64;
    paint.imageSmoothingQuality = "high";
    paint.drawImage(this.strip, place * side, 0, side, side, 0, 0, canvas.width, canvas.height);
  }

  /** The probability of the own class at all evaluations: up where it came first, else down. */
  #history({ history }, place, at, { label }) {
    const { evaluations } = this.told;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [history.clientWidth, history.clientHeight];
    history.width = Math.round(width * density);
    history.height = Math.round(height * density);
    const paint = history.getContext("2d");
    paint.scale(density, density);
    const { main, ink, rule, lines } = colours();
    const count = evaluations.length;
    const wide = width / count;
    const zero = height * 0.68;
    let [rights, changes, before] = [0, 0, null];
    evaluations.forEach((evaluation, i) => {
      const picture = evaluation.pictures.find((one) => one.place === place);
      const first = picture?.top[0]?.[0];
      if (first === undefined) return;
      const own = picture.top.find(([name]) => name === label)?.[1] ?? 0;
      const right = first === label;
      rights += right;
      changes += before !== null && before !== first;
      before = first;
      paint.fillStyle = right ? main : lines[1];
      const x = i * wide;
      const gap = wide > 4 ? 1 : 0;
      if (right) paint.fillRect(x, zero - own * zero, wide - gap, own * zero);
      else paint.fillRect(x, zero, wide - gap, (height - zero) * Math.max(0.25, picture.top[0][1]));
    });
    paint.fillStyle = rule;
    paint.fillRect(0, zero, width, 1);
    paint.fillStyle = ink;
    paint.fillRect(Math.min(width - 2, Math.max(0, (at + 0.5) * wide - 1)), 0, 2, height);
    const words = `${label}: right at ${rights} of ${count} evaluations, the first guess changed`;
    history.setAttribute("aria-label", `${words} ${changes} times`);
  }
}
