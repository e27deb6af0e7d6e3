// The table of the last segments.

import { protocolName, type Segment } from "../measure.js";
import { byId, element, milliseconds, relayName } from "./dom.js";

const ROWS = 50;
const COLUMNS = 12;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const rows = new Map<Segment, HTMLTableRowElement>();

/** Adds a segment on top of the table, or draws its row anew. */
export function showSegment(segment: Segment): void {
  const known = rows.get(segment);
  const row = rowOf(segment);
  if (known) {
    known.replaceWith(row);
  } else {
    row.className = "fresh";
    const body = byId("segments");
    if (rows.size === 0) body.replaceChildren();
    body.prepend(row);
  }
  if (known || rows.size < ROWS) {
    rows.set(segment, row);
    return;
  }
  rows.set(segment, row);
  const [oldest] = rows.entries();
  if (oldest) {
    oldest[1].remove();
    rows.delete(oldest[0]);
  }
}

export function clearSegments(): void {
  rows.clear();
  const cell = element("td", "", "No segment yet.");
  cell.colSpan = COLUMNS;
  byId("segments").replaceChildren(element("tr", "empty", cell));
}

const SOURCES = { store: "own store", peer: "other relay", origin: "origin", unknown: "not stated" } as const;

function rowOf(segment: Segment): HTMLTableRowElement {
  const time = element("th", "", clock.format(segment.date));
  time.scope = "row";
  const relay = element("td", "", relayName(segment.relay));
  if (segment.left > 0) {
    const mark = element("span", "left", `after ${segment.left} other${segment.left > 1 ? "s" : ""}`);
    relay.append(mark);
  }
  return element("tr", "", time,
    element("td", "n number", String(segment.number)),
    element("td", "", segment.level),
    element("td", "n", (segment.bytes / 1000).toFixed(0)),
    relay,
    element("td", `source-of ${segment.source}`, SOURCES[segment.source]),
    element("td", "protocol", segment.protocol ? protocolName(segment.protocol) : "…"),
    element("td", "", cacheCell(segment)),
    element("td", "n", milliseconds(segment.firstByteMs), element("span", "unit", " ms")),
    element("td", "n", segment.mbps.toFixed(segment.mbps < 100 ? 1 : 0)),
    element("td", "", mark(segment.verified ? "yes" : "no", segment.verified ? "verified" : "not checked")),
    element("td", "", receiptMark(segment.receipt)));
}

function receiptMark(receipt: Segment["receipt"]): HTMLElement {
  const words = { none: "none", waiting: "waiting", accepted: "accepted", refused: "refused" } as const;
  return mark(receipt === "accepted" ? "yes" : receipt === "waiting" ? "wait" : receipt === "refused" ? "bad" : "no", words[receipt]);
}

function mark(state: "yes" | "no" | "wait" | "bad", words: string): HTMLElement {
  const sign = element("span", "sign", { yes: "✔", no: "–", wait: "…", bad: "✘" }[state]);
  sign.setAttribute("aria-hidden", "true");
  const made = element("span", "mark-cell", sign, element("span", "visually-hidden", words));
  made.dataset["state"] = state;
  made.title = words;
  return made;
}

function cacheCell({ cache, cacheStatus }: Segment): HTMLElement {
  const words = { hit: "hit", miss: "miss", none: "not stated" } as const;
  const cell = element("span", "cache", element("b", "", words[cache.result]));
  if (cache.detail) cell.append(element("code", "", cache.detail));
  cell.dataset["result"] = cache.result;
  if (cacheStatus) cell.title = cacheStatus;
  return cell;
}
