// Small things that all parts of the view use.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, ...children: Child[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Sets a text only when it changes, so that screen readers and the layout are left in peace. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** A shape for each relay, so that relays are told apart without colour: triangle, circle, square; a cross for
 *  those behind them, a diamond for all else. */
const SHAPES: Record<string, string> = { a: "M6 1l5 10H1z", b: "M6 1a5 5 0 1 0 .01 0z", c: "M1 1h10v10H1z", peers: "M4.5 1h3v3.5H11v3H7.5V11h-3V7.5H1v-3h3.5z" };
const OTHER_SHAPE = "M6 0l6 6-6 6-6-6z";

export function shape(name: string): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  svg.dataset["relay"] = name;
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name] ?? OTHER_SHAPE);
  svg.append(path);
  return svg;
}

export const relayName = (name: string): HTMLSpanElement => element("span", "relay-name", shape(name), name);

export const percent = (part: number, whole: number): string => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–");

export const milliseconds = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
