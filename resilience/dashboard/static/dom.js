// Elements from data. Text is only ever set as text, so what a span says can never become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Replace what is inside. What somebody did there stays: focus (by id), tables moved aside, details opened. */
export function show(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  const all = (selector) => [...parent.querySelectorAll(selector)];
  const moved = all(".scroll").map((element) => element.scrollLeft), opened = all("details").map((element) => element.open);
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child instanceof Node));
  all(".scroll").forEach((element, i) => { if (moved[i]) element.scrollLeft = moved[i]; });
  all("details").forEach((element, i) => { if (opened[i]) element.open = true; });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// A click is a press and a release on the same element: nothing is redrawn between the two.
let pressed = false, held = [];
const release = () => setTimeout(() => { pressed = false; for (const go of held.splice(0)) go(); }, 50);
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", release);
addEventListener("pointercancel", release);
export const settled = () => (pressed ? new Promise((resolve) => { held.push(resolve); }) : Promise.resolve());

export const panel = (title, note, ...children) =>
  h("section", { class: "panel", "aria-label": title }, h("header", {}, h("h2", {}, title), note && h("p", {}, note)), children);
export const badge = (text, tone) => h("span", { class: "badge", "data-tone": tone }, text);
export const empty = (text) => h("p", { class: "empty" }, text);

/** Only an address on this server becomes a link; anything else that a span says stays text. */
export const link = (path, text, props) => h("a", { href: path, "data-link": true, ...props }, text);
