// The page's moving parts: tables, tiles, the status sentence. It draws what it is given and decides nothing.

import { protocolName } from "./measure.js";

/** Rows of the segment table. */
const ROWS = 50;
/** A shape for each relay, so that relays are told apart without colour: triangle, circle, square, diamond. */
const SHAPES = { a: "M6 1l5 10H1z", b: "M6 1a5 5 0 1 0 .01 0z", c: "M1 1h10v10H1z" };
const OTHER_SHAPE = "M6 0l6 6-6 6-6-6z";

const byId = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function relayName(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  svg.dataset.relay = name;
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name] ?? OTHER_SHAPE);
  svg.append(path);
  return element("span", "relay-name", svg, name);
}

/** Says what is going on; screen readers hear it, so it only changes when its meaning does. */
export function showStatus(state, sentence) {
  if (byId("status-text").textContent === sentence) return;
  byId("status").dataset.state = state;
  byId("status-text").textContent = sentence;
}

/** Offers the relays as radio buttons. */
export function showRelayChoice(relays) {
  byId("relay-options").replaceChildren(...relays.map(({ name, peer }) => {
    const input = element("input");
    Object.assign(input, { type: "radio", name: "relay", value: name });
    input.setAttribute("aria-label", `Relay ${name}`);
    const label = element("label", "", input, element("span", "", relayName(name)));
    if (peer) label.title = `Relay ${name}, peer ${peer}`;
    return label;
  }));
}

export function showSource(url) {
  byId("source").textContent = url;
}

/** Sets a tile: a number and its unit, or a dash. */
function tile(id, value, unit = "") {
  const text = value ?? "–";
  byId(id).replaceChildren(text, ...(value && unit ? [element("small", "", unit)] : []));
}

export function showNow({ isLive, behindSeconds, bufferSeconds, level, firstByteMs }) {
  byId("latency-label").textContent = isLive ? "Behind live" : "Position";
  tile("latency", behindSeconds === null ? null : behindSeconds.toFixed(1), "s");
  tile("buffer", bufferSeconds.toFixed(1), "s");
  tile("picture", level || null);
  tile("first-byte", firstByteMs === null ? null : firstByteMs.toFixed(firstByteMs < 10 ? 1 : 0), "ms");
}

/** Totals by relay: `rows` is a list of { relay, segments, bytes, hits, share, chosen }. */
export function showTotals(rows) {
  byId("totals").replaceChildren(...rows.map((row) => {
    const meter = element("meter");
    Object.assign(meter, { min: 0, max: 1, value: row.share });
    meter.setAttribute("aria-hidden", "true");
    const name = element("th", "", relayName(row.relay));
    name.scope = "row";
    const hits = row.segments ? `${Math.round((100 * row.hits) / row.segments)} %` : "–";
    const made = element("tr", "", name,
      element("td", "n", String(row.segments)),
      element("td", "n", (row.bytes / 1e6).toFixed(1)),
      element("td", "n", hits),
      element("td", "n share", `${Math.round(100 * row.share)} %`, meter));
    made.dataset.chosen = String(row.chosen);
    return made;
  }));
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const rowsBySegment = new Map();

/** Adds a segment on top of the table, or redraws its row. */
export function showSegment(segment) {
  const known = rowsBySegment.get(segment);
  const row = segmentRow(segment);
  if (known) {
    known.replaceWith(row);
  } else {
    row.className = "fresh";
    const body = byId("segments");
    if (rowsBySegment.size === 0) body.replaceChildren();
    body.prepend(row);
  }
  rowsBySegment.set(segment, row);
  if (rowsBySegment.size > ROWS) {
    const [oldest, itsRow] = rowsBySegment.entries().next().value;
    itsRow.remove();
    rowsBySegment.delete(oldest);
  }
}

function segmentRow(segment) {
  const time = element("th", "", clock.format(segment.at));
  time.scope = "row";
  const milliseconds = (value) => [value.toFixed(value < 10 ? 1 : 0), element("span", "unit", " ms")];
  return element("tr", "", time,
    element("td", "n number", String(segment.number)),
    element("td", "", segment.level),
    element("td", "", relayName(segment.relay)),
    element("td", "protocol", segment.protocol ? protocolName(segment.protocol) : "…"),
    element("td", "", cacheCell(segment)),
    element("td", "n", (segment.bytes / 1000).toFixed(0)),
    element("td", "n", ...milliseconds(segment.firstByteMs)),
    element("td", "n", ...milliseconds(segment.durationMs)),
    element("td", "n", segment.mbps.toFixed(segment.mbps < 100 ? 1 : 0)));
}

function cacheCell({ cache, cacheStatus }) {
  const words = { hit: "hit", miss: "miss", none: "not stated" };
  const cell = element("span", "cache", element("b", "", words[cache.result]));
  if (cache.detail) cell.append(element("code", "", cache.detail));
  cell.dataset.result = cache.result;
  if (cacheStatus) cell.title = cacheStatus;
  return cell;
}
