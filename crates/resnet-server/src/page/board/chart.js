// Curves over a common axis, drawn on two canvases: the curves, and above them what follows the
// pointer, so that moving it draws no curve again.

import { announce, el, framed, sample, text } from "./dom.js";
import { band, curve, seen } from "./paint.js";
import { nearest, scale, ticks } from "./scale.js";

const MARGIN = { left: 58, right: 14, top: 10, bottom: 40 };
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
/** Pixels that a pointer moves before it drags. */
const DRAG = 5;

/** Colours of the theme, read once for all charts and again when it changes. */
let theme = null;

export function colours() {
  if (!theme) {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    theme = { lines: [0, 1, 2, 3, 4, 5, 6].map((i) => read(`--l${i}`)) };
    for (const name of ["page", "ink", "muted", "rule", "grid", "main"]) {
      theme[name] = read(`--${name}`);
    }
  }
  return theme;
}

/** Calls `redraw` when the reader's screen changes its theme or its density. */
export function onTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    theme = null;
    redraw();
  });
}

/** The one box with values beside the pointer. */
const tip = el("div", { className: "tip", hidden: true, "aria-hidden": "true" });
document.body.append(tip);

/**
 * A figure with curves.
 *
 * `spec`: `title`; `unit`, behind it; `log`; `zero`, whether the axis begins there; `most`, where
 * it ends at the latest; `format` of a value; `tick` of a value beside the axis; `points`, whether
 * they are marked.
 *
 * Tells `zoom` with `[low, high]` or null, and `point` with where the pointer is.
 */
export class Chart extends EventTarget {
  constructor(spec) {
    super();
    this.spec = spec;
    this.lines = [];
    this.axis = { label: "", format: String, tick: String, domain: [0, 1] };
    this.zoomed = null;
    this.at = null;
    /** Where the pointer is, in pixels; what is there changes with the axis. */
    this.pointer = null;
    this.drag = null;
    this.base = el("canvas", { "aria-hidden": "true" });
    this.over = el("canvas", { "aria-hidden": "true" });
    this.empty = el("p", { className: "empty", hidden: true });
    this.plot = el(
      "div",
      { className: "plot", tabIndex: 0, role: "img", "aria-label": spec.title },
      this.base,
      this.over,
      this.empty,
    );
    this.title = el("h3", {}, spec.title);
    this.unit = el("span", { className: "unit" }, spec.unit ?? "");
    const caption = el("figcaption", {}, this.title, this.unit);
    this.element = el("figure", { className: "chart-figure" }, caption, this.plot);
    this.draw = framed(() => this.#draw());
    this.point = framed(() => this.#drawPointer());
    new ResizeObserver(() => this.#resize()).observe(this.plot);
    // What nobody sees is drawn when it comes into view.
    this.seen = true;
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen && this.stale) this.#draw();
    }, { rootMargin: "100px" }).observe(this.plot);
    this.#listen();
  }

  /** Calls what is drawn by another name. */
  rename(title, unit) {
    this.spec.title = title;
    text(this.title, title);
    text(this.unit, unit);
  }

  /**
   * What to draw. A line has `run`, `name`, `look`, `x`, `y`, and perhaps `faint` (the same before
   * it was smoothed), `low` and `high`.
   */
  set({ lines, axis, zoomed = null, log = this.spec.log, range = null, empty = "" }) {
    Object.assign(this, { lines, axis, zoomed, log, range });
    this.empty.textContent = empty;
    this.empty.hidden = lines.length > 0;
    this.draw();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    const density = window.devicePixelRatio || 1;
    if (this.width === width && this.height === height && this.density === density) return;
    Object.assign(this, { width, height, density });
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
      canvas.getContext("2d").setTransform(density, 0, 0, density, 0, 0);
    }
    this.#draw();
  }

  /** The part of the axis that is seen. */
  get domain() {
    return this.zoomed ?? this.axis.domain;
  }

  /** Lowest and highest value to be seen. */
  #values() {
    let [least, most] = [Infinity, -Infinity];
    for (const { x, y, faint, low, high } of this.lines) {
      const [from, to] = seen(x, this.x);
      for (const list of low ? [low, high] : faint ? [faint] : [y]) {
        for (let i = from; i <= to; i++) {
          const value = list[i];
          // No comparison holds of what is not a number.
          if (!(value > (this.log ? 0 : -Infinity) && value < Infinity)) continue;
          if (value < least) least = value;
          if (value > most) most = value;
        }
      }
    }
    if (least > most) return this.log ? [0.1, 1] : [0, 1];
    if (this.log) {
      const room = (most / least) ** 0.04 || 1;
      return least === most ? [least / 2, most * 2] : [least / room, most * room];
    }
    if (this.spec.zero) least = Math.min(0, least);
    const room = (most - least || Math.abs(most) || 1) * 0.05;
    const top = most + room;
    const cap = this.spec.most;
    return [
      this.spec.zero && least >= 0 ? 0 : least - room,
      cap !== undefined && most <= cap ? Math.min(cap, top) : top,
    ];
  }

  #draw() {
    const { width, height } = this;
    this.stale = !this.seen;
    if (!width || !height || this.stale) return;
    const paint = this.base.getContext("2d");
    paint.clearRect(0, 0, width, height);
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    this.x = scale(this.domain, [MARGIN.left, right]);
    this.y = scale(this.range ?? this.#values(), [bottom, MARGIN.top], this.log);
    this.#axes(paint, right, bottom);
    paint.save();
    paint.beginPath();
    paint.rect(MARGIN.left, 0, right - MARGIN.left + 1, bottom + 1);
    paint.clip();
    paint.lineJoin = "bevel";
    for (const line of this.lines) this.#behind(paint, line);
    for (const line of this.lines) {
      const { x, y, look, faint } = line;
      paint.strokeStyle = paint.fillStyle = colours().lines[look.colour];
      paint.lineWidth = 1.9;
      paint.setLineDash(look.dash);
      const kind = { smooth: Boolean(faint), points: this.spec.points };
      curve(paint, [this.x, this.y], x, y, kind);
    }
    paint.restore();
    this.#describe();
    if (this.pointer !== null) this.#tell("point", this.x.back(this.pointer));
    this.#drawPointer();
  }

  /** What a line was before it was smoothed, or between which values its points lie. */
  #behind(paint, { x, faint, low, high, look }) {
    paint.strokeStyle = paint.fillStyle = colours().lines[look.colour];
    paint.lineWidth = 1;
    paint.globalAlpha = 0.2;
    if (low) band(paint, [this.x, this.y], x, low, high);
    else if (faint) curve(paint, [this.x, this.y], x, faint);
    paint.globalAlpha = 1;
  }

  #axes(paint, right, bottom) {
    const { grid, muted, rule } = colours();
    paint.font = FONT;
    paint.lineWidth = 1;
    paint.fillStyle = muted;
    paint.textBaseline = "middle";
    paint.textAlign = "right";
    const named = ticks(this.y.low, this.y.high, Math.max(2, (bottom - MARGIN.top) / 36), this.log);
    for (const value of named) {
      const y = Math.round(this.y.forth(value)) + 0.5;
      paint.strokeStyle = grid;
      paint.beginPath();
      paint.moveTo(MARGIN.left, y);
      paint.lineTo(right, y);
      paint.stroke();
      paint.fillText(this.spec.tick(value), MARGIN.left - 8, y);
    }
    paint.strokeStyle = rule;
    paint.beginPath();
    paint.moveTo(MARGIN.left, bottom + 0.5);
    paint.lineTo(right, bottom + 0.5);
    paint.stroke();
    paint.textBaseline = "top";
    let free = -Infinity;
    for (const value of this.axis.ticks ?? ticks(...this.domain, (right - MARGIN.left) / 72)) {
      const x = this.x.forth(value);
      const label = this.axis.tick(value);
      const wide = paint.measureText(label).width;
      const at = Math.min(x, right + MARGIN.right - wide / 2 - 2);
      if (at - wide / 2 < free) continue;
      free = at + wide / 2 + 8;
      paint.textAlign = "center";
      paint.fillText(label, at, bottom + 6);
      paint.beginPath();
      paint.moveTo(Math.round(x) + 0.5, bottom + 1);
      paint.lineTo(Math.round(x) + 0.5, bottom + 5);
      paint.stroke();
    }
    paint.textAlign = "center";
    paint.fillText(this.axis.label, (MARGIN.left + right) / 2, bottom + 23);
  }

  /** What the lines have where the pointer is: the nearest point of each. */
  #found(x) {
    const slack = (this.domain[1] - this.domain[0]) * 0.01;
    const found = [];
    for (const line of this.lines) {
      const { x: places, y } = line;
      const i = nearest(places, x);
      if (i < 0 || !Number.isFinite(y[i])) continue;
      if (x < places[0] - slack || x > places[places.length - 1] + slack) continue;
      found.push({ line, i, at: places[i], value: y[i] });
    }
    return found;
  }

  /** Puts the crosshair somewhere; null takes it away. Only the `own` chart tells values. */
  crosshair(at, own = false) {
    if (at === this.at && own === this.own) return;
    Object.assign(this, { at, own });
    this.point();
  }

  #drawPointer() {
    const { width, height } = this;
    if (!width) return;
    const paint = this.over.getContext("2d");
    paint.clearRect(0, 0, width, height);
    const { ink, main, page } = colours();
    const bottom = height - MARGIN.bottom;
    if (this.drag) {
      const [a, b] = [this.drag.from, this.drag.to].sort((one, two) => one - two);
      paint.fillStyle = main;
      paint.globalAlpha = 0.16;
      paint.fillRect(a, MARGIN.top, b - a, bottom - MARGIN.top);
      paint.globalAlpha = 1;
    }
    const [low, high] = this.domain;
    const seen = this.at !== null && this.at >= low && this.at <= high;
    if (!seen || !this.x) {
      if (this.own) tip.hidden = true;
      return;
    }
    const x = Math.round(this.x.forth(this.at)) + 0.5;
    paint.strokeStyle = ink;
    paint.globalAlpha = 0.45;
    paint.lineWidth = 1;
    paint.beginPath();
    paint.moveTo(x, MARGIN.top);
    paint.lineTo(x, bottom);
    paint.stroke();
    paint.globalAlpha = 1;
    const found = this.#found(this.at);
    for (const { line, at, value } of found) {
      paint.beginPath();
      paint.arc(this.x.forth(at), this.y.forth(value), 3.6, 0, 7);
      paint.fillStyle = colours().lines[line.look.colour];
      paint.fill();
      paint.strokeStyle = page;
      paint.lineWidth = 1.5;
      paint.stroke();
    }
    if (this.own) this.#beside(found, x);
  }

  /** Values of all lines, the largest first, beside the pointer. */
  #beside(found, x) {
    if (this.drag || !found.length) {
      tip.hidden = true;
      return;
    }
    found.sort((a, b) => b.value - a.value);
    const rows = found.map(({ line, value }) => el(
      "div",
      { className: "row" },
      sample(line.look),
      el("span", { className: "name" }, line.name),
      el("span", { className: "value" }, this.spec.format(value)),
    ));
    tip.replaceChildren(el("div", { className: "head" }, this.axis.format(this.at)), ...rows);
    tip.hidden = false;
    const box = this.plot.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: tall } = tip;
    const at = box.left + x;
    const left = at + 16 + wide < innerWidth - 8 ? at + 16 : Math.max(8, at - 16 - wide);
    const over = box.top + (this.height - tall) / 2;
    tip.style.left = `${Math.round(Math.min(left, innerWidth - wide - 8))}px`;
    tip.style.top = `${Math.round(Math.min(Math.max(8, over), innerHeight - tall - 8))}px`;
  }

  /** The latest values in words. */
  #describe() {
    const about = this.lines.slice(0, 12).map(({ name, y }) => {
      let i = y.length - 1;
      while (i > 0 && !Number.isFinite(y[i])) i--;
      return `${name} ${this.spec.format(y[i])}`;
    });
    const words = about.length ? `latest: ${about.join(", ")}` : "nothing to show";
    const label = `${this.spec.title}, ${words}. Arrow keys read values, plus and minus zoom.`;
    if (this.plot.getAttribute("aria-label") !== label) this.plot.setAttribute("aria-label", label);
  }

  #tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }

  #listen() {
    const plot = this.plot;
    const tell = (what, detail) => this.#tell(what, detail);
    const within = (event) => {
      const box = plot.getBoundingClientRect();
      const x = event.clientX - box.left;
      return Math.min(Math.max(x, MARGIN.left), this.width - MARGIN.right);
    };
    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.x) return;
      const x = within(event);
      this.drag = { from: x, to: x, moved: false };
      // A pointer that has gone, or one that a script plays, cannot be held.
      try {
        plot.setPointerCapture(event.pointerId);
      } catch {
        return;
      }
    });
    plot.addEventListener("pointermove", (event) => {
      if (!this.x) return;
      const x = within(event);
      if (this.drag) {
        this.drag.to = x;
        this.drag.moved ||= Math.abs(x - this.drag.from) > DRAG;
      }
      this.pointer = x;
      tell("point", this.x.back(x));
      this.point();
    });
    plot.addEventListener("pointerup", (event) => {
      const drag = this.drag;
      this.drag = null;
      this.point();
      if (drag?.moved) {
        const ends = [drag.from, within(event)].sort((a, b) => a - b);
        if (ends[1] - ends[0] > DRAG) tell("zoom", ends.map((x) => this.x.back(x)));
      } else if (event.pointerType === "touch") {
        tell("point", this.x.back(within(event)));
      }
    });
    const leave = () => {
      this.pointer = null;
      tell("point", null);
    };
    plot.addEventListener("pointercancel", () => {
      this.drag = null;
      leave();
    });
    plot.addEventListener("pointerleave", (event) => {
      if (!this.drag && event.pointerType !== "touch") leave();
    });
    plot.addEventListener("blur", leave);
    plot.addEventListener("dblclick", () => tell("zoom", null));
    plot.addEventListener("keydown", (event) => {
      if (this.#key(event, tell)) event.preventDefault();
    });
  }

  #key(event, tell) {
    const [low, high] = this.domain;
    const wide = high - low;
    const at = this.at ?? high;
    const move = (part) => {
      this.pointer = null;
      const to = Math.min(high, Math.max(low, at + part * wide));
      tell("point", to);
      const found = this.#found(to);
      const values = found.map(({ line, value }) => `${line.name} ${this.spec.format(value)}`);
      announce(`${this.axis.format(to)}: ${values.join(", ") || "no values"}`);
    };
    const zoom = (factor) => {
      const [from, to] = [at - (at - low) * factor, at + (high - at) * factor];
      const [first, last] = this.axis.domain;
      const all = from <= first && to >= last;
      tell("zoom", all ? null : [Math.max(first, from), Math.min(last, to)]);
    };
    const step = event.shiftKey ? 0.1 : 0.01;
    switch (event.key) {
      case "ArrowLeft": move(-step); break;
      case "ArrowRight": move(step); break;
      case "Home": move(-1); break;
      case "End": move(1); break;
      case "+": case "=": zoom(0.5); break;
      case "-": zoom(2); break;
      case "Escape":
        tell("zoom", null);
        tell("point", null);
        break;
      default: return false;
    }
    return true;
  }
}
