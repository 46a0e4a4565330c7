// The page of a board: finds the token, follows the server, and puts the parts together.

import * as api from "./board/api.js";
import { Curves } from "./board/curves.js";
import { Depth } from "./board/depth.js";
import { announce, el, text } from "./board/dom.js";
import { Predictions } from "./board/predictions.js";
import { List, title } from "./board/runs.js";
import { Store } from "./board/store.js";
import { Table } from "./board/table.js";

const WORDS = {
  connecting: "connecting",
  live: "live",
  lost: "connection lost, trying again",
  refused: "no access",
};

const store = new Store();
const main = document.getElementById("main");
const state = document.getElementById("state");

function begin() {
  const list = new List(store);
  const parts = [new Curves(store), new Depth(store), new Predictions(store)];
  main.replaceChildren(
    list.element,
    el("div", { className: "parts" }, ...parts.map((part) => part.element)),
    new Table(store).element,
  );
  store.follow();
}

/** Asks for a token; one that was `tried` is not known here. */
function refused(tried) {
  const wrong = store.problem || (tried
    ? "The token of this tab is not known here; perhaps the board was started again since." : "");
  const field = el("input", {
    type: "password", id: "token", autocomplete: "off", spellcheck: false, required: true,
  });
  const form = el(
    "form",
    {
      className: "token",
      onsubmit: (event) => {
        event.preventDefault();
        api.keepToken(field.value);
        location.reload();
      },
    },
    el("h2", {}, "This board wants a token"),
    el("p", { className: "wrong", role: "alert" }, wrong),
    el(
      "p", {},
      "Open the address that the terminal printed when the board began: the token is in it. Or "
        + "copy the part behind #token= to here.",
    ),
    el("label", { for: "token" }, "Token"),
    field,
    el("button", {}, "Open"),
  );
  main.replaceChildren(form);
  field.focus();
}

function show() {
  text(state, WORDS[store.state]);
  state.className = store.state;
  if (store.state === "refused") refused(found);
  else if (store.state !== "connecting") announce(WORDS[store.state]);
}

store.addEventListener("state", show);
store.addEventListener("runs", () => {
  const name = title(store);
  if (document.title !== name) document.title = name;
});
// What changed while nobody looked.
document.addEventListener("visibilitychange", () => store.refresh());

const found = api.findToken();
show();
if (found) begin();
else {
  store.state = "refused";
  show();
}
