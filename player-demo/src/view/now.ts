// The status sentence, the buffer bar, the tiles and the list of what happened.

import { byId, element, setText } from "./dom.js";

/** What the buffer bar shows at most. */
const BUFFER_S = 16;
/** Events that are kept on the page. */
const EVENTS = 40;

export type Tone = "wait" | "play" | "pause" | "change" | "fail";

/** Says what is going on; screen readers hear it, so it only changes when its meaning does. */
export function showStatus(tone: Tone, sentence: string): void {
  byId("status").dataset["state"] = tone;
  setText(byId("status-text"), sentence);
}

export function drawBuffer(ahead: number): void {
  const bar = byId("buffer");
  const shown = Math.min(BUFFER_S, ahead);
  bar.setAttribute("aria-valuenow", shown.toFixed(0));
  bar.setAttribute("aria-valuetext", `${ahead.toFixed(0)} seconds`);
  bar.dataset["tone"] = ahead < 2 ? "low" : "good";
  (bar.firstElementChild as HTMLElement).style.width = `${(100 * shown) / BUFFER_S}%`;
  setText(byId("buffer-seconds"), `${ahead.toFixed(1)} s`);
}

export interface Tile { readonly label: string; readonly value: string; readonly unit?: string | undefined; readonly tone?: "good" | "bad" | undefined }

const tiles = new Map<string, { root: HTMLElement; label: HTMLElement; value: HTMLElement; unit: HTMLElement }>();

/** Draws the tiles; a tile keeps its place by its key. */
export function drawTiles(all: Record<string, Tile>): void {
  for (const [key, { label, value, unit = "", tone }] of Object.entries(all)) {
    let known = tiles.get(key);
    if (!known) {
      const made = { label: element("dt", "", label), value: element("span", "", ""), unit: element("small", "", "") };
      known = { ...made, root: element("div", "", made.label, element("dd", "", made.value, made.unit)) };
      known.root.dataset["tile"] = key;
      tiles.set(key, known);
      byId("tiles").append(known.root);
    }
    setText(known.label, label);
    setText(known.value, value);
    setText(known.unit, unit);
    if (tone) known.root.dataset["tone"] = tone;
    else delete known.root.dataset["tone"];
  }
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Adds a line to what happened. */
export function tell(tone: "good" | "warn" | "bad" | "info", ...parts: (string | Node)[]): void {
  const list = byId("events");
  list.querySelector(".empty")?.remove();
  const line = element("li", "", element("time", "", clock.format(new Date())), element("span", "", ...parts));
  line.dataset["tone"] = tone;
  list.prepend(line);
  while (list.children.length > EVENTS) list.lastElementChild?.remove();
}
