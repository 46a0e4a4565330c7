// Elements, and what assistive technology is told.

/** An element with properties, listeners (`onclick`), attributes (`aria-label`) and children. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  set(element, properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same for drawings. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function set(element, properties) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
}

/** Changes a text only where it differs, so that nothing is selected or read anew. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Says something to who listens rather than looks. */
export function announce(message) {
  const live = document.getElementById("live");
  // The same words again are news only if they change.
  live.textContent = live.textContent === message ? `${message}\u00a0` : message;
}

/** A piece of the line that a run is drawn with. */
export function sample(look) {
  const line = svg("line", { x1: 1, x2: 21, y1: 5, y2: 5, "stroke-width": 2.5 });
  line.setAttribute("class", `l${look.colour}`);
  if (look.dash.length) line.setAttribute("stroke-dasharray", look.dash.join(" "));
  return svg("svg", { class: "sample", viewBox: "0 0 22 10", "aria-hidden": "true" }, line);
}

/** Runs work at most once a frame. */
export function framed(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}
