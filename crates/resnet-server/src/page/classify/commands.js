// The commands that repeat what is shown, to be copied.

import { token } from "./api.js";
import { el, setText } from "./dom.js";
import { curl, python } from "./snippets.js";

/** How long a button says that it has copied, in milliseconds. */
const SAID = 2000;

export class Commands {
  #requests = [];
  #pictures = [];

  constructor() {
    this.curl = block("curl");
    this.python = block("Python");
    this.node = el("details", { className: "commands", hidden: true },
      el("summary", {}, "As a command: curl, Python"),
      el("div", { className: "blocks" }, this.curl.node, this.python.node));
    this.node.addEventListener("toggle", () => this.#write());
  }

  /** `requests`: models and what was asked of them; `pictures`: what was sent. */
  update(requests, pictures) {
    this.#requests = requests;
    this.#pictures = pictures;
    this.node.hidden = requests.length === 0 || pictures.length === 0;
    this.#write();
  }

  #write() {
    if (!this.node.open || this.node.hidden) return;
    const secret = Boolean(token());
    setText(this.curl.code, curl(this.#requests, this.#pictures, secret));
    setText(this.python.code, python(this.#requests, this.#pictures, secret));
  }
}

/** A listing under a heading, with a button that copies it. */
function block(name) {
  const code = el("code");
  const pre = el("pre", { tabIndex: 0 }, code);
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", `${name} command`);
  const copy = el("button", { type: "button", className: "quiet" }, "Copy");
  copy.setAttribute("aria-label", `Copy the ${name} command`);
  const said = el("span", { className: "said-copied", role: "status" });
  copy.addEventListener("click", async () => {
    setText(said, (await copied(code)) ? "Copied" : "Selected: press Ctrl+C");
    setTimeout(() => setText(said, ""), SAID);
  });
  const head = el("div", { className: "block-head" }, el("h4", {}, name), said, copy);
  return { code, node: el("div", { className: "block" }, head, pre) };
}

/** Copies a listing. Without a secure context there is no clipboard: it is selected instead. */
async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
