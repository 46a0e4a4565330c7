// Many pictures as a table: sorted, filtered, with a card in it for each that is opened.

import { Commands } from "./commands.js";
import { answersCsv } from "./csv.js";
import { el, setChildren, setText } from "./dom.js";
import { ms, percent, things } from "./format.js";
import { verdicts } from "./verdict.js";

/** What can be shown, with which pictures have it. */
const FILTERS = [
  ["all", "All", () => true],
  ["unsure", "Not sure", (row) => row.notes.some((note) => note.kind === "unsure")],
  ["unlike", "Unlike", (row) => row.notes.some((note) => note.kind === "unlike")],
  ["differ", "Models differ", (row) => row.differ],
  ["failed", "Failed", (row) => row.failed],
];

export class Table {
  #rows = new Map();
  #sort = { key: "", down: false };
  #columns = [];
  #models = [];
  #shown = [];

  /** `actions`: `open(picture)`, `remove(picture)`, `card(picture)` that gives an open card. */
  constructor(root, actions) {
    this.actions = actions;
    this.search = el("input", { type: "search", autocomplete: "off" });
    const options = FILTERS.map(([value, text]) => el("option", { value }, text));
    this.filter = el("select", {}, ...options);
    this.download = el("button", { type: "button" });
    this.search.addEventListener("input", () => this.#arrange());
    this.filter.addEventListener("change", () => this.#arrange());
    this.download.addEventListener("click", () => this.#save());
    const bar = el("div", { className: "table-bar" },
      el("label", { className: "field" }, "Name or class contains", this.search),
      el("label", { className: "field" }, "Show", this.filter), this.download);
    this.head = el("tr", { role: "row" });
    this.body = el("tbody", { role: "rowgroup" });
    this.none = el("p", { className: "note", hidden: true }, "No picture is like that.");
    const caption = el("caption", { className: "visually-hidden" },
      "Pictures and their likeliest classes");
    this.commands = new Commands();
    // The roles are those the elements have by themselves, which some browsers take from them
    // when a narrow window lays them out as a grid.
    root.append(bar, el("table", { className: "answers", role: "table" }, caption,
      el("thead", { role: "rowgroup" }, this.head), this.body), this.none, this.commands.node);
  }

  /** Shows the pictures as two models, or one, answered. */
  update(pictures, models) {
    this.#setModels(models);
    const kept = new Set(pictures);
    for (const picture of this.#rows.keys()) {
      if (!kept.has(picture)) this.#rows.delete(picture);
    }
    this.#rows = new Map(pictures.map((picture) =>
      [picture, this.#rows.get(picture) ?? this.#row(picture)]));
    for (const row of this.#rows.values()) this.#fill(row);
    this.#arrange();
  }

  /** Which columns there are, for these models; each knows how to sort and to fill a cell. */
  #setModels(models) {
    if (models.map((m) => m.key).join("\n") === this.#models.map((m) => m.key).join("\n")) return;
    this.#models = models;
    const two = models.length > 1;
    const guess = (row, i) => row.answers[i].found?.picture.top[0];
    const ofModel = models.flatMap((model, i) => [
      { key: `class${i}`, text: two ? model.title : "Class", model: two && model.title,
        value: (row) => guess(row, i)?.label },
      { key: `share${i}`, text: "Probability", number: true,
        value: (row) => guess(row, i)?.probability },
    ]);
    this.#columns = [
      { key: "name", text: "Picture", value: (row) => row.picture.name },
      ...ofModel,
      { key: "notes", text: "Notes", value: (row) => row.note || undefined },
      { key: "time", text: "Time, ms", number: true, value: (row) => row.time },
    ];
    if (!this.#columns.some((column) => column.key === this.#sort.key)) {
      this.#sort = { key: "", down: false };
    }
    const differ = this.filter.querySelector("[value=differ]");
    differ.hidden = !two;
    if (!two && this.filter.value === "differ") this.filter.value = "all";
    this.#rows.clear();
    const heads = this.#columns.map((column) => {
      column.button = el("button", { type: "button", className: "sort" }, column.text);
      column.button.addEventListener("click", () => this.#sortBy(column));
      const className = `c-${column.key}${column.number ? " number" : ""}`;
      column.head = el("th", { scope: "col", role: "columnheader", className }, column.button);
      return column.head;
    });
    const last = el("th", { scope: "col", role: "columnheader", className: "c-remove" },
      el("span", { className: "visually-hidden" }, "Remove"));
    this.head.replaceChildren(...heads, last);
    this.#tellOrder();
  }

  #row(picture) {
    const row = { picture, cells: {} };
    row.name = el("button", { type: "button", className: "link name" });
    row.name.append(el("span", {}, picture.name));
    row.name.addEventListener("click", () => this.actions.open(picture));
    row.node = el("tr", { role: "row" });
    for (const column of this.#columns) {
      const named = column.key === "name";
      const cell = el(named ? "th" : "td", { role: named ? "rowheader" : "cell" });
      if (column.model) cell.setAttribute("data-model", column.model);
      if (named) cell.scope = "row";
      cell.className = `c-${column.key}${column.number ? " number" : ""}`;
      row.cells[column.key] = cell;
      row.node.append(cell);
    }
    row.cells.name.append(el("div", { className: "with-thumb" }, picture.thumbnail, row.name));
    const remove = el("button", { type: "button", className: "quiet" }, "\u00d7");
    remove.setAttribute("aria-label", `Remove ${picture.name}`);
    remove.addEventListener("click", () => this.actions.remove(picture));
    row.node.append(el("td", { role: "cell", className: "c-remove" }, remove));
    row.place = el("td", { role: "cell", colSpan: this.#columns.length + 1 });
    row.detail = el("tr", { role: "row", className: "detail" }, row.place);
    return row;
  }

  /** Puts what is known into the cells. */
  #fill(row) {
    const { picture, cells } = row;
    row.answers = this.#models.map((model) => picture.answers.get(model.key));
    const known = row.answers.filter((answer) => answer.found);
    const [first, second] = row.answers.map((answer) => answer.found?.picture.top[0].label);
    row.differ = first !== undefined && second !== undefined && first !== second;
    row.notes = known.flatMap((answer) =>
      verdicts(answer.found.picture, answer.model).filter((note) => note.kind !== "sure"));
    const shorts = new Set(row.notes.map((note) => note.short));
    if (row.differ) shorts.add("models differ");
    const failures = row.answers.filter((answer) => answer.state === "failed");
    row.failed = failures.length > 0;
    failures.forEach((answer) => shorts.add(answer.error.message));
    row.note = [...shorts].join(", ");
    const times = known.map((answer) => answer.found.total);
    row.time = times.length > 0 ? times.reduce((a, b) => a + b) : undefined;
    row.answers.forEach((answer, i) => {
      const best = answer.found?.picture.top[0];
      const state = answer.state === "failed" ? "failed" : "...";
      setText(cells[`class${i}`], best?.label ?? state);
      cells[`class${i}`].classList.toggle("failure", !best && answer.state === "failed");
      cells[`class${i}`].classList.toggle("pending", !best && answer.state !== "failed");
      setText(cells[`share${i}`], best ? percent(best.probability) : "");
    });
    setText(cells.notes, row.note);
    setText(cells.time, times.map(ms).join(" + "));
    row.name.setAttribute("aria-expanded", picture.open);
    row.node.classList.toggle("opened", picture.open);
    const card = picture.open ? [this.actions.card(picture)] : [];
    setChildren(row.place, card);
  }

  #sortBy(column) {
    const again = this.#sort.key === column.key;
    // A third time: the order in which the pictures were chosen.
    if (again && this.#sort.down !== Boolean(column.number)) this.#sort = { key: "", down: false };
    else this.#sort = { key: column.key, down: again ? !this.#sort.down : Boolean(column.number) };
    this.#tellOrder();
    this.#arrange();
  }

  #tellOrder() {
    for (const column of this.#columns) {
      const on = column.key === this.#sort.key;
      const order = this.#sort.down ? "descending" : "ascending";
      column.head.setAttribute("aria-sort", on ? order : "none");
    }
  }

  /** Puts the rows that the filters let through into their order. */
  #arrange() {
    const wanted = this.search.value.trim().toLowerCase();
    const passes = FILTERS.find(([value]) => value === this.filter.value)[2];
    const contains = (row) =>
      [row.picture.name, ...row.answers.map((a) => a.found?.picture.top[0].label ?? "")]
        .some((text) => text.toLowerCase().includes(wanted));
    const rows = [...this.#rows.values()].filter((row) => passes(row) && contains(row));
    const column = this.#columns.find(({ key }) => key === this.#sort.key);
    if (column) rows.sort((a, b) => compare(column.value(a), column.value(b), this.#sort.down));
    this.#shown = rows.map((row) => row.picture);
    setChildren(this.body, rows.flatMap((row) =>
      row.picture.open ? [row.node, row.detail] : [row.node]));
    this.none.hidden = rows.length > 0;
    this.download.disabled = rows.length === 0;
    setText(this.download, `Download CSV (${things(rows.length, "picture")})`);
    const asked = (model) => rows.map((row) => row.picture.answers.get(model.key).asked)
      .find((wish) => wish);
    const requests = this.#models.filter(asked).map((model) =>
      ({ model, wish: { top: asked(model).top, cam: false } }));
    this.commands.update(requests, this.#shown);
  }

  #save() {
    const blob = new Blob([answersCsv(this.#shown, this.#models)], { type: "text/csv" });
    const url = URL.createObjectURL(blob);
    el("a", { href: url, download: "pictures.csv" }).click();
    // The download has its own hold on the bytes once the click is handled.
    setTimeout(() => URL.revokeObjectURL(url), 0);
  }
}

/** Order of two values; what is not known goes last either way. */
function compare(a, b, down) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return down ? -order : order;
}
