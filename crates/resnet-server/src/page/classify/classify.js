// The page that classifies pictures: its state, and who does what.

import { Answer } from "./answer.js";
import { Api, setToken, token } from "./api.js";
import { Card } from "./card.js";
import { byId, el, setChildren, setText } from "./dom.js";
import { count, percent, roundPercent, things } from "./format.js";
import { Picture } from "./picture.js";
import { Queue } from "./queue.js";
import { listen, listenToCamera } from "./sources.js";
import { Table } from "./table.js";
import { askToken } from "./token.js";

/** Requests at once. */
const AT_ONCE = 2;
/** From more pictures than these on, the table is shown, unless the user chose. */
const MANY = 4;
/** Names of more pictures are not read out one by one. */
const READ_OUT = 3;
/** Milliseconds between changes of the table while answers come. */
const TABLE_EVERY = 150;

const server = { api: new Api(askToken), queue: new Queue(AT_ONCE), limits: null };
const settings = { top: 5, heat: true, opacity: 0.7 };
const cards = new Map();
let models = [];
let shownModels = [];
let chosenView = null;
let pictures = [];
/** Pictures whose answers changed since the page was painted. */
const changed = new Set();
/** Those that nothing was said about since. */
const unspoken = new Set();

const table = new Table(byId("table"), { open, remove, card: (picture) => cardOf(picture).node });

async function start() {
  byId("trouble").hidden = true;
  try {
    const service = await server.api.service();
    models = service.models;
    server.limits = service.limits;
  } catch (error) {
    trouble(error.message, true);
    return;
  }
  const ready = models.filter(isReady);
  if (ready.length === 0) return trouble("This server has no model that is ready.", true);
  const standard = ready.find((model) => model.default) ?? ready[0];
  const option = (model) => {
    const text = isReady(model) ? model.title : `${model.title} (${model.state})`;
    return el("option", { value: model.key, disabled: !isReady(model) }, text);
  };
  byId("first").replaceChildren(...models.map(option));
  byId("first").value = standard.key;
  byId("second").replaceChildren(el("option", { value: "" }, "none"), ...models.map(option));
  byId("first-field").hidden = byId("second-field").hidden = models.length < 2;
  chooseModels();
  byId("main").classList.remove("loading");
}

/** Of others the server tells hardly more than their names. */
const isReady = (model) => model.state === "ready";

/** Tells what is wrong; `again`: with the models, which can be asked for again. */
function trouble(text, again = false) {
  setText(byId("trouble-text"), text);
  byId("ask-again").hidden = !again;
  byId("trouble").hidden = false;
}

/** Takes the models from the form; the second is another than the first. */
function chooseModels() {
  const [first, second] = [byId("first"), byId("second")];
  if (second.value === first.value) second.value = "";
  for (const model of models) {
    const option = [...second.options].find(({ value }) => value === model.key);
    option.disabled = model.key === first.value || !isReady(model);
  }
  const keys = [first.value, second.value];
  shownModels = keys.map((key) => models.find((model) => model.key === key)).filter(Boolean);
  for (const picture of pictures) {
    for (const [key, answer] of picture.answers) {
      if (!keys.includes(key) && answer.busy) {
        answer.stop();
        picture.answers.delete(key);
      }
    }
  }
  byId("about").replaceChildren(...shownModels.map((model) => el("span", {}, about(model))));
  refresh();
}

/** A model in one line. */
function about(model) {
  const [height, width] = model.input;
  const parts = [
    `${count(model.classes)} classes`,
    `sees ${height} \u00d7 ${width} px${model.channels === 1 ? " in grey" : ""}`,
    `computes in ${model.precision}`,
  ];
  const { threshold, precision } = model.calibrated ?? {};
  parts.push(model.calibrated
    ? `sure from ${roundPercent(threshold)} on (${roundPercent(precision)} of those right)`
    : "not calibrated");
  const name = model.arch === model.name ? model.title : `${model.title} (${model.arch})`;
  return `${name}: ${parts.join(", ")}`;
}

function add(list) {
  if (shownModels.length === 0) return trouble("The server has not told its models yet.", true);
  server.api.begin();
  byId("trouble").hidden = true;
  pictures = [...list.map((chosen) => new Picture(chosen)), ...pictures];
  refresh();
}

/** Takes a picture away; the focus goes to the button that removes what stands there then. */
function remove(picture) {
  const buttons = () => [...byId("results").querySelectorAll("button[aria-label^='Remove ']")];
  const at = buttons().indexOf(document.activeElement);
  discard([picture]);
  const left = buttons();
  if (at >= 0) (left[Math.min(at, left.length - 1)] ?? byId("files")).focus();
}

function discard(list) {
  for (const picture of list) {
    dispose(picture);
    picture.remove();
  }
  pictures = pictures.filter((picture) => !list.includes(picture));
  refresh();
}

function open(picture) {
  picture.open = !picture.open;
  refresh();
}

function cardOf(picture) {
  if (!cards.has(picture)) {
    cards.set(picture, new Card(picture, { remove, explain, setOpacity }));
  }
  const card = cards.get(picture);
  card.update(shownModels, settings);
  return card;
}

function dispose(picture) {
  cards.get(picture)?.dispose();
  cards.delete(picture);
}

/** Shows the evidence for a class, by one model. */
function explain(picture, model, number) {
  picture.explained.set(model.key, number);
  byId("heat").checked = settings.heat = true;
  refresh(true);
}

function setOpacity(share) {
  settings.opacity = share;
  cards.forEach((card) => card.update(shownModels, settings));
}

const view = () => chosenView ?? (pictures.length > MANY ? "table" : "cards");

/** Brings the page in line with its state, and asks for what it then lacks. */
function refresh(urgent = false) {
  const asTable = view() === "table";
  for (const picture of pictures) {
    const detailed = !asTable || picture.open;
    if (!detailed) dispose(picture);
    for (const model of shownModels) {
      if (!picture.answers.has(model.key)) {
        picture.answers.set(model.key, new Answer(picture, model, server, () => told(picture)));
      }
      const number = picture.explained.get(model.key);
      const cam = settings.heat && detailed;
      const top = Math.min(settings.top, model.classes);
      const wish = cam && number !== undefined ? { top, cam, class: number } : { top, cam };
      picture.answers.get(model.key).want(wish, urgent || picture.open);
    }
  }
  byId("results").hidden = pictures.length === 0;
  byId("source").classList.toggle("empty", pictures.length === 0);
  const [model] = shownModels;
  setText(byId("invitation"), pictures.length > 0 ? "Drop, paste or choose more pictures."
    : `Drop, paste or choose pictures, and ${model.name} says which of its `
      + `${count(model.classes)} classes each of them shows.`);
  document.querySelector(`#view [value=${view()}]`).checked = true;
  byId("cards").hidden = asTable;
  byId("table").hidden = !asTable;
  paint();
}

/** An answer changed: the page follows, a table of many rows not at every one. */
function told(picture) {
  if (changed.size === 0) {
    if (view() === "table") setTimeout(paintChanged, TABLE_EVERY);
    else requestAnimationFrame(paintChanged);
  }
  changed.add(picture);
}

function paintChanged() {
  announce();
  if (view() === "table") paint();
  else changed.forEach((picture) => cards.get(picture)?.update(shownModels, settings));
  changed.clear();
  summarise();
}

function paint() {
  if (view() === "table") {
    setChildren(byId("cards"), []);
    table.update(pictures, shownModels);
  } else {
    table.update([], shownModels);
    const items = pictures.map((picture) => {
      const { node } = cardOf(picture);
      return node.parentElement?.parentElement === byId("cards") ? node.parentElement
        : el("li", {}, node);
    });
    setChildren(byId("cards"), items);
  }
  summarise();
}

const answersOf = (picture) => shownModels.map((model) => picture.answers.get(model.key));

/** One line about all pictures. */
function summarise() {
  const states = pictures.map(answersOf);
  const some = (test) => states.filter((answers) => answers.some(test)).length;
  const waiting = some((answer) => answer.busy && !answer.found);
  const failed = some((answer) => answer.state === "failed");
  const all = things(pictures.length, "picture");
  const parts = [waiting > 0 ? `${count(pictures.length - waiting)} of ${all}` : all];
  const add = (n, text) => n > 0 && parts.push(`${count(n)} ${text}`);
  add(some((answer) => answer.found?.picture.sure === false), "not sure");
  add(some((answer) => answer.found?.picture.unlike), "unlike");
  add(failed, "failed");
  setText(byId("summary"), parts.join(" \u00b7 "));
  const retriable = (answer) => answer.state === "failed" && answer.error.passes;
  byId("retry-all").hidden = some(retriable) < 2;
  byId("token-note").hidden = !token();
}

/** Tells who listens what came once all is there: few pictures by name, of many how many. */
function announce() {
  changed.forEach((picture) => unspoken.add(picture));
  if (pictures.some((picture) => answersOf(picture).some((answer) => answer.busy))) return;
  const done = pictures.filter((picture) => unspoken.has(picture));
  unspoken.clear();
  if (done.length === 0) return;
  const failed = done.filter((p) => answersOf(p).some((answer) => answer.state === "failed"));
  const but = failed.length > 0 ? `, ${count(failed.length)} of them failed` : "";
  const text = done.length <= READ_OUT ? done.map(spoken).join(". ")
    : `${things(done.length, "picture")} done${but}`;
  setText(byId("live"), text);
}

function spoken(picture) {
  const said = answersOf(picture).map((answer) => {
    if (answer.state === "failed") return answer.error.message;
    const { top, sure, unlike } = answer.found.picture;
    const notes = [sure === false && "not sure", unlike && "unlike what it learned from"];
    const best = `${top[0].label}, ${percent(top[0].probability)}`;
    const by = shownModels.length > 1 ? `${answer.model.title} says ` : "";
    return by + [best, ...notes.filter(Boolean)].join(", ");
  });
  return `${picture.name}: ${said.join("; ")}`;
}

byId("settings").addEventListener("submit", (event) => event.preventDefault());
byId("first").addEventListener("change", chooseModels);
byId("second").addEventListener("change", chooseModels);
byId("top").addEventListener("change", () => {
  settings.top = Number(byId("top").value);
  refresh();
});
byId("heat").addEventListener("change", () => {
  settings.heat = byId("heat").checked;
  refresh();
});
// A click, not a change: who chooses what is shown already wants it to stay.
byId("view").addEventListener("click", (event) => {
  if (!event.target.matches("input")) return;
  chosenView = event.target.value;
  refresh();
});
byId("clear").addEventListener("click", () => {
  discard(pictures);
  byId("files").focus();
});
byId("retry-all").addEventListener("click", () => {
  pictures.flatMap(answersOf).forEach((answer) => answer.retry());
});
byId("ask-again").addEventListener("click", () => {
  server.api.begin();
  start();
});
byId("forget").addEventListener("click", () => {
  setToken("");
  summarise();
});
setText(byId("origin"), location.host);
listen(add, trouble);
listenToCamera(add);
start();
