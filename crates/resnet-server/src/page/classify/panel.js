// What one model says about one picture: the picture with its heat map, bars of the classes, what
// there is to say about them, times.

import { el, setChildren, setText } from "./dom.js";
import { ms, percent } from "./format.js";
import { Stage } from "./stage.js";
import { verdicts } from "./verdict.js";

/** Parts of the time in their order: name, and how long from an answer. */
const STAGES = [
  ["network", ({ roundTrip, total }) => roundTrip - total],
  ["queue", ({ picture }) => picture.ms.queue],
  ["decode", ({ picture }) => picture.ms.decode],
  ["compute", ({ picture }) => picture.ms.compute],
  ["other", ({ picture: { ms }, total }) => total - ms.queue - ms.decode - ms.compute],
];

export class Panel {
  /** `actions`: `explain(class)`, `setOpacity(share)`. */
  constructor(picture, model, actions) {
    Object.assign(this, { model, actions });
    this.stage = new Stage(picture);
    this.slider = el("input", { type: "range", min: 0, max: 100, step: 1 });
    this.slider.addEventListener("input", () => actions.setOpacity(this.slider.value / 100));
    this.heatText = el("p", { className: "heat-text" });
    const scale = el("span", { className: "scale" });
    scale.setAttribute("aria-hidden", "true");
    const legend = el("span", { className: "legend" }, "little ", scale, " much");
    const opacity = el("label", { className: "opacity" }, "Opacity ", this.slider);
    this.heat = el("div", { className: "heat" }, this.heatText,
      el("div", { className: "heat-row" }, legend, opacity));
    this.title = el("h4", { className: "panel-title" }, model.title);
    this.error = el("div", { className: "banner bad", hidden: true });
    this.errorText = el("p");
    this.again = el("button", { type: "button" });
    this.error.append(this.errorText, this.again);
    this.again.addEventListener("click", () => this.answer?.retry());
    this.bars = el("ol", { className: "bars" });
    this.bars.setAttribute("aria-label", `Likeliest classes by ${model.title}`);
    this.verdicts = el("div", { className: "verdicts" });
    this.times = times();
    this.node = el("section", { className: "panel" }, this.title,
      el("div", { className: "seen" }, this.stage.node, this.heat),
      el("div", { className: "said" }, this.error, this.bars, this.verdicts,
        this.times.node));
    this.node.setAttribute("aria-label", `${picture.name} by ${model.title}`);
  }

  /** Shows an answer with the page's settings: `top`, `heat`, `opacity`. */
  update(answer, settings) {
    this.answer = answer;
    const found = answer.found?.picture ?? null;
    this.node.setAttribute("aria-busy", answer.busy);
    this.stage.update(found, settings.heat ? settings.opacity : null);
    this.#updateHeat(found, settings);
    this.heat.classList.toggle("idle", answer.state === "failed" && !found);
    this.#updateError(answer);
    const failed = answer.state === "failed" && !found;
    this.bars.hidden = failed;
    this.#updateBars(found, settings);
    this.#updateVerdicts(found, failed);
    this.times.update(failed ? null : answer.found);
    this.times.node.hidden = failed;
  }

  dispose() {
    this.stage.dispose();
  }

  #updateHeat(found, settings) {
    this.heat.hidden = !settings.heat;
    const percentage = Math.round(100 * settings.opacity);
    if (Number(this.slider.value) !== percentage) this.slider.value = percentage;
    this.slider.setAttribute("aria-label", `Opacity of the heat map, ${this.model.title}`);
    this.slider.setAttribute("aria-valuetext", `${percentage} %`);
    const cam = found?.cam;
    if (!cam) {
      setText(this.heatText, "\u00a0");
      return;
    }
    const label = found.top.find((guess) => guess.class === cam.class)?.label ?? cam.class;
    const nothing = cam.values.every((value) => value <= 0);
    setText(this.heatText, nothing ? `No evidence for ${label} found` : `Evidence for ${label}`);
  }

  #updateError({ error, state }) {
    this.error.hidden = state !== "failed";
    if (state !== "failed") return;
    setText(this.errorText, error.message);
    const left = this.answer.secondsLeft();
    this.again.hidden = !error.passes;
    this.again.setAttribute("aria-disabled", left > 0);
    setText(this.again, left > 0 ? `Try again in ${left} s` : "Try again");
  }

  /** Bars are changed in their place, so that the one that has the focus keeps it. */
  #updateBars(found, settings) {
    const rows = Math.min(settings.top, this.model.classes);
    const guesses = found ? found.top.slice(0, rows) : Array(rows).fill(null);
    while (this.bars.children.length > guesses.length) this.bars.lastElementChild.remove();
    guesses.forEach((guess, i) => {
      if (!this.bars.children[i]) this.bars.append(this.#bar());
      const [button] = this.bars.children[i].children;
      const [label, share, track] = button.children;
      button.disabled = !guess;
      setText(label, guess?.label ?? (i === 0 ? waitingText(this.answer, this.model) : "\u00a0"));
      setText(share, guess ? percent(guess.probability) : "");
      track.firstElementChild.style.width = guess ? `${100 * guess.probability}%` : "0";
      const explained = settings.heat && guess?.class === found?.cam?.class;
      button.setAttribute("aria-pressed", Boolean(guess) && explained);
      button.title = guess ? `Show the evidence for ${guess.label}` : "";
      button.guess = guess;
    });
  }

  #bar() {
    const track = el("span", { className: "track" }, el("span", { className: "fill" }));
    const button = el("button", { type: "button", className: "bar" },
      el("span", { className: "label" }), el("span", { className: "share" }), track);
    button.addEventListener("click", () => this.actions.explain(button.guess.class));
    return el("li", {}, button);
  }

  #updateVerdicts(found, failed) {
    this.verdicts.hidden = failed;
    this.verdicts.classList.toggle("awaited", !found && Boolean(this.model.calibrated));
    if (this.shown === found) return;
    this.shown = found;
    const nodes = (found ? verdicts(found, this.model) : []).map(({ kind, title, text }) =>
      el("p", { className: `verdict ${kind}` }, el("strong", {}, title), ` ${text}`));
    setChildren(this.verdicts, nodes);
  }
}

function waitingText(answer, model) {
  return answer.state === "asking" ? `Asking ${model.title} ...` : "Waiting for its turn";
}

/** The stacked bar of the times and its key. */
function times() {
  const parts = STAGES.map(([name, time]) => {
    const segment = el("span", { className: `segment ${name}` });
    const value = el("dd", {});
    const key = el("div", {}, el("dt", { className: `key ${name}` }, name), value);
    return { time, segment, value, key };
  });
  const total = el("span", { className: "total" });
  const stack = el("span", { className: "stack" }, ...parts.map((part) => part.segment));
  stack.setAttribute("aria-hidden", "true");
  const name = el("span", { className: "visually-hidden" }, "Round trip");
  const line = el("p", {}, stack, name, total);
  const list = el("dl", {}, ...parts.map((part) => part.key));
  list.setAttribute("aria-label", "Times in milliseconds");
  const update = (found) => {
    setText(total, found ? `${ms(found.roundTrip)} ms` : "\u2013");
    for (const { time, segment, value } of parts) {
      const took = found ? Math.max(0, time(found)) : 0;
      segment.style.flexGrow = took;
      setText(value, found ? ms(took) : "\u2013");
    }
  };
  return { node: el("div", { className: "times" }, line, list), update };
}
