// The list of runs: which are shown, what each is doing, stopping and resuming.

import * as api from "./api.js";
import { announce, el, framed, sample, svg, text } from "./dom.js";
import { about, duration, moment, percent, whole } from "./format.js";

/** What is drawn beside each state, since colour alone tells too little. */
const MARKS = {
  waiting: "M2 6h1M5.5 6h1M9 6h1",
  running: "M6 3.5a2.5 2.5 0 1 0 .01 0z",
  stopped: "M4 2.5v7M8 2.5v7",
  finished: "M2 6.5l3 3 5-7",
  diverged: "M2.5 2.5l7 7M9.5 2.5l-7 7",
};

/** The mark of a state. */
export function mark(state) {
  const drawn = svg("path", { d: MARKS[state], "stroke-width": 2, "stroke-linecap": "round" });
  return svg("svg", { class: `mark ${state}`, viewBox: "0 0 12 12", "aria-hidden": "true" }, drawn);
}

/** Runs from which on the list can be searched. */
const MANY = 9;

/** Runs that a narrow screen shows at first. */
const FEW = 4;

/** Runs in the order of the list: the youngest first. */
export function ordered(store) {
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return store.list.sort(
    (a, b) => (b.told.began ?? 0) - (a.told.began ?? 0) || compare(a.id, b.id),
  );
}

/** What a run is doing, in a line. */
function status({ state, step, steps, left, epoch, epochs, top1, asked, seconds }) {
  if (asked === "stop") return "saving, then it stops";
  if (asked === "resume") return "is being resumed";
  const done = steps ? percent(step / steps, 0) : "";
  const best = top1 === null ? "" : `, top-1 ${percent(top1)}`;
  if (state === "running") {
    const rest = left === null ? "" : `, ${about(left)} left`;
    return `${done || "begins"}${rest}${best}`;
  }
  if (state === "finished") return `${duration(seconds)}${best}`;
  if (state === "waiting") return "has told nothing yet";
  return `epoch ${Math.min(Math.ceil(epoch), epochs)} of ${epochs}${best}`;
}

/** The list beside the curves. */
export class List {
  constructor(store) {
    this.store = store;
    this.items = new Map();
    this.search = el("input", {
      type: "search", placeholder: "Search runs", "aria-label": "Search runs", hidden: true,
      oninput: () => this.#filter(),
    });
    this.list = el("ul", { className: "runs" });
    this.more = el("button", {
      type: "button", className: "more",
      onclick: () => {
        const all = this.list.classList.toggle("all");
        this.more.setAttribute("aria-expanded", String(all));
        this.#draw();
      },
    });
    this.cut = el("p", { className: "hint", hidden: true });
    this.empty = el(
      "p", { className: "empty-list" },
      "No run yet. One that begins in the folders of this board appears here.",
    );
    const all = (shown) => () => store.showOnly((run) => shown && this.#matches(run));
    this.element = el(
      "section",
      { className: "list", "aria-labelledby": "runs" },
      el(
        "div",
        { className: "list-head" },
        el("h2", { id: "runs" }, "Runs"),
        el("button", { type: "button", className: "plain", onclick: all(true) }, "all"),
        el("button", { type: "button", className: "plain", onclick: all(false) }, "none"),
      ),
      this.search,
      this.list,
      this.more,
      this.empty,
      this.cut,
    );
    const draw = framed(() => this.#draw());
    for (const what of ["runs", "shown"]) store.addEventListener(what, draw);
  }

  #matches(run) {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const known = `${run.id} ${run.told.arch} ${run.told.data} ${run.told.state}`.toLowerCase();
    return words.every((word) => known.includes(word));
  }

  #filter() {
    for (const run of this.store.list) {
      const item = this.items.get(run.id);
      if (item) item.element.hidden = !this.#matches(run);
    }
  }

  #draw() {
    const runs = ordered(this.store);
    this.search.hidden = runs.length < MANY;
    this.more.hidden = runs.length <= FEW;
    text(this.more, this.list.classList.contains("all") ? "Fewer runs" : `All ${runs.length} runs`);
    this.empty.hidden = runs.length > 0 || this.store.state !== "live";
    text(this.cut, this.store.cut ?? "");
    this.cut.hidden = !this.store.cut;
    for (const [id, item] of this.items) {
      if (this.store.runs.get(id) === item.run) continue;
      item.element.remove();
      this.items.delete(id);
    }
    let before = null;
    for (const run of runs) {
      let item = this.items.get(run.id);
      if (!item) {
        item = this.#item(run);
        this.items.set(run.id, item);
      }
      // Moving an element would take the focus from what is in it.
      const next = before ? before.nextSibling : this.list.firstChild;
      if (next !== item.element) this.list.insertBefore(item.element, next);
      before = item.element;
      this.#fill(item);
    }
    this.#filter();
  }

  #item(run) {
    const box = el("input", {
      type: "checkbox", onchange: () => this.store.show(run, box.checked),
    });
    const place = el("span", { className: "place" });
    const state = el("span", { className: "hidden" });
    const words = el("span", {});
    const bar = el("span", {});
    const amount = el("span", { className: "progress", "aria-hidden": "true" }, bar);
    const reason = el("p", { className: "reason", hidden: true });
    const notice = el("p", { className: "notice", hidden: true });
    const button = el("button", { type: "button", hidden: true, onclick: () => this.#act(item) });
    const name = el("span", { className: "name" }, run.id);
    const element = el(
      "li",
      {},
      el("label", {}, box, sample(run.look), name),
      el("p", { className: "status" }, place, state, words),
      amount,
      reason,
      button,
      notice,
    );
    const item = { run, element, box, place, state, words, bar, amount, reason, notice, button };
    return item;
  }

  #fill(item) {
    const { run } = item;
    const { told } = run;
    item.box.checked = run.shown;
    item.element.className = told.state;
    const began = told.began === null ? "" : `began ${moment(told.began)}`;
    const words = [told.directory, told.arch, told.data, began].filter(Boolean).join(", ");
    if (item.element.title !== words) item.element.title = words;
    if (item.state.textContent !== `${told.state}: `) {
      item.state.textContent = `${told.state}: `;
      item.place.replaceChildren(mark(told.state));
    }
    text(item.words, status(told));
    const part = told.steps ? Math.min(1, told.step / told.steps) : 0;
    item.amount.hidden = told.state === "finished";
    item.bar.style.width = `${100 * part}%`;
    text(item.reason, told.reason ?? "");
    item.reason.hidden = !told.reason;
    const what = { running: "stop", stopped: "resume" }[told.state];
    item.what = what;
    item.button.hidden = !what || !this.store.actions || told.asked !== null;
    text(item.button, what === "stop" ? "Save and stop" : "Resume");
    item.button.setAttribute("aria-label", `${item.button.textContent}: ${run.id}`);
    const { notice } = told;
    if (notice && notice.number > run.notice) {
      run.notice = notice.number;
      this.#tell(item, notice.text, notice.failed);
    }
    if (told.asked && told.asked !== run.askedFor) {
      this.#tell(item, told.asked === "stop" ? "asked to save and stop" : "is being resumed");
    }
    run.askedFor = told.asked;
  }

  /** Says what came of a request, to all senses. */
  #tell(item, message, failed = false) {
    text(item.notice, message);
    item.notice.className = failed ? "notice failed" : "notice";
    item.notice.hidden = false;
    announce(`${item.run.id}: ${message}`);
  }

  async #act(item) {
    item.button.disabled = true;
    try {
      await api.act(item.run.id, item.what);
    } catch (error) {
      this.#tell(item, error.message, true);
    }
    item.button.disabled = false;
  }
}

/** What the window is called: how far the one run is that trains. */
export function title(store) {
  const running = store.list.filter((run) => run.told.state === "running");
  if (running.length === 0) return "resnet board";
  if (running.length > 1) return `${running.length} running – resnet board`;
  const { step, steps } = running[0].told;
  return `${steps ? percent(step / steps, 0) : whole(step)} ${running[0].id} – resnet board`;
}
