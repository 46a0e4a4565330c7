// Small helpers for the document.

/** An element with properties (a name with a dash, `role` or `for` is an attribute), children. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/-|^role$|^for$/.test(name)) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** Sets a text where it differs, so that what is selected or being read aloud is left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes `parent` hold exactly `nodes`; what is in its place is not moved, and the focus stays. */
export function setChildren(parent, nodes) {
  const focused = document.activeElement;
  const kept = new Set(nodes);
  [...parent.children].filter((child) => !kept.has(child)).forEach((child) => child.remove());
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
  const lost = focused !== document.activeElement && parent.contains(focused);
  if (lost) focused.focus({ preventScroll: true });
}
