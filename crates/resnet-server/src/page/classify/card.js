// A picture with what one or two models say about it.

import { Commands } from "./commands.js";
import { el, setText } from "./dom.js";
import { bytes, count } from "./format.js";
import { Panel } from "./panel.js";

export class Card {
  /** `actions`: `remove(picture)`, `explain(picture, model, class)`, `setOpacity(share)`. */
  constructor(picture, actions) {
    Object.assign(this, { picture, actions, panels: new Map() });
    this.facts = el("p", { className: "facts" });
    this.remove = el("button", { type: "button", className: "quiet" }, "Remove");
    this.remove.setAttribute("aria-label", `Remove ${picture.name}`);
    this.remove.addEventListener("click", () => actions.remove(picture));
    this.body = el("div", { className: "panels" });
    this.commands = new Commands();
    this.node = el("article", { className: "card" },
      el("header", {}, el("h3", {}, picture.name), this.facts, this.remove),
      this.body, this.commands.node);
    this.node.setAttribute("aria-label", picture.name);
  }

  /** Shows the answers of `models` with the page's settings. */
  update(models, settings) {
    const { picture, actions } = this;
    for (const [key, panel] of this.panels) {
      if (models.some((model) => model.key === key)) continue;
      panel.dispose();
      panel.node.remove();
      this.panels.delete(key);
    }
    models.forEach((model, i) => {
      if (!this.panels.has(model.key)) {
        this.panels.set(model.key, new Panel(picture, model, {
          explain: (number) => actions.explain(picture, model, number),
          setOpacity: actions.setOpacity,
        }));
      }
      const panel = this.panels.get(model.key);
      if (this.body.children[i] !== panel.node) {
        this.body.insertBefore(panel.node, this.body.children[i] ?? null);
      }
      panel.update(picture.answers.get(model.key), settings);
    });
    this.body.classList.toggle("two", models.length > 1);
    const answers = models.map((model) => picture.answers.get(model.key));
    const found = answers.find((answer) => answer.found)?.found.picture;
    const size = found ? `${count(found.width)} \u00d7 ${count(found.height)} px, ` : "";
    setText(this.facts, size + bytes(picture.file.size));
    const done = answers.filter((answer) => answer.found);
    this.commands.update(done.map(({ model, asked }) => ({ model, wish: asked })), [picture]);
  }

  dispose() {
    this.panels.forEach((panel) => panel.dispose());
    this.picture.release();
    this.node.remove();
  }
}
