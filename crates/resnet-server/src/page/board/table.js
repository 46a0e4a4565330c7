// All numbers of the runs that are shown, and in which keys their recipes differ.

import * as api from "./api.js";
import { el, framed, sample, text } from "./dom.js";
import { duration, number, percent, whole } from "./format.js";
import { ordered } from "./runs.js";

/** Columns: their heading and their text for a run. */
const COLUMNS = [
  ["State", ({ state }) => state],
  ["Epoch", ({ epoch, epochs }) => `${Number(epoch.toFixed(1))} of ${whole(epochs)}`],
  ["Step", ({ step }) => whole(step)],
  ["Best top-1", ({ best_top1: best }) => percent(best ?? NaN, 2)],
  ["Last top-1", ({ top1 }) => percent(top1 ?? NaN, 2)],
  ["Loss", ({ loss }) => number(loss ?? NaN)],
  ["Images/s", ({ images_per_s: speed }) => whole(speed ?? NaN)],
  ["Time", ({ seconds }) => duration(seconds)],
];

/** The section. */
export class Table {
  constructor(store) {
    this.store = store;
    this.recipes = null;
    this.rows = new Map();
    this.head = el("thead");
    this.body = el("tbody");
    this.same = el("p", { className: "hint" });
    this.table = el("table", { className: "numbers" }, this.head, this.body);
    this.element = el(
      "section",
      { className: "whole", "aria-labelledby": "numbers", hidden: true },
      el("h2", { id: "numbers" }, "Numbers and recipes"),
      this.table,
      this.same,
    );
    const draw = framed(() => this.#draw());
    store.addEventListener("runs", () => {
      this.#refresh();
      draw();
    });
    store.addEventListener("shown", draw);
    this.draw = draw;
    new ResizeObserver(() => this.#fit()).observe(this.element);
  }

  /** Recipes are fixed when a run begins, so they are asked for when there are other runs. */
  async #refresh() {
    const key = this.store.list.map((run) => `${run.id} ${run.told.began}`).join("\n");
    if (key === this.key) return;
    this.key = key;
    try {
      this.recipes = await api.recipes();
    } catch {
      this.key = null;
    }
    this.draw();
  }

  /** Keys whose values are not the same in all of these runs. */
  #differing(runs) {
    if (!this.recipes) return [];
    const known = runs.map((run) => this.recipes.runs[run.id]).filter(Boolean);
    return this.recipes.keys
      .map(({ name, help }, at) => ({ name, help, at }))
      .filter(({ at }) => new Set(known.map((values) => values[at])).size > 1);
  }

  #draw() {
    const runs = ordered(this.store).filter((run) => run.shown);
    this.element.hidden = !runs.length;
    if (!runs.length) return;
    const keys = this.#differing(runs);
    const heading = keys.map(({ name }) => name).join(" ");
    if (heading !== this.heading) {
      this.heading = heading;
      this.rows.clear();
      this.body.replaceChildren();
      const told = COLUMNS.map(([name]) => el("th", { scope: "col" }, name));
      const differing = keys.map(({ name, help }) => {
        const [section, last] = name.includes(".") ? name.split(".") : ["", name];
        const before = el("span", { className: "section" }, section && `${section}.`);
        return el("th", { scope: "col", className: "key", title: help }, before, last);
      });
      const row = el("tr", {}, el("th", { scope: "col" }, "Run"), ...told, ...differing);
      this.head.replaceChildren(row);
    }
    const left = new Set(this.rows.keys());
    runs.forEach((run, place) => {
      left.delete(run.id);
      const row = this.rows.get(run.id) ?? this.#row(run, keys);
      this.rows.set(run.id, row);
      if (this.body.children[place] !== row.element) {
        this.body.insertBefore(row.element, this.body.children[place] ?? null);
      }
      COLUMNS.forEach(([, of], i) => text(row.cells[i], of(run.told)));
      const values = this.recipes?.runs[run.id];
      keys.forEach(({ at }, i) => {
        text(row.cells[COLUMNS.length + i], values ? plain(values[at]) : "–");
      });
    });
    for (const id of left) {
      this.rows.get(id).element.remove();
      this.rows.delete(id);
    }
    this.#fit();
    const more = runs.length > 1 && this.recipes && !keys.length;
    text(this.same, more ? "Their recipes are the same." : "");
  }

  /** Where it is too wide for the page, each row becomes a card. */
  #fit() {
    this.table.classList.remove("cards");
    this.table.classList.toggle("cards", this.table.offsetWidth > this.element.clientWidth);
  }

  #row(run, keys) {
    const names = [...COLUMNS.map(([name]) => name), ...keys.map(({ name }) => name)];
    const cells = names.map((name, i) => {
      const cell = el("td", { "data-name": name });
      if (i >= COLUMNS.length) cell.className = "key";
      return cell;
    });
    const head = el("th", { scope: "row" }, sample(run.look), el("span", {}, run.id));
    return { element: el("tr", {}, head, ...cells), cells };
  }
}

/** A value of TOML, its quotes left out. */
function plain(value) {
  const text = /^"([^"\\]*)"$/.exec(value);
  return text ? text[1] || "(none)" : value;
}
