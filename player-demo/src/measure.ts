// What can be said of a segment that arrived: who sent it, from which store, over which protocol, how fast, whether it is
// the publisher's, whether a receipt for it was accepted.
//
// Two sources are joined: the loader's report and the browser's resource timing, which alone knows the protocol and may
// come later; the row is then completed. Everything kept is bounded.

import type { MediaReport } from "../loader/src/index.js";

/** Segments and timings kept; older ones are forgotten. */
const KEPT_SEGMENTS = 1000;
const KEPT_TIMINGS = 300;
/** The browser stops recording timings when its buffer is full; it is emptied then, since only new entries matter. */
const TIMING_BUFFER = 500;

/** Names of `nextHopProtocol` (RFC 7301 identifiers) as people know them. */
const PROTOCOLS: Record<string, string> = { h3: "HTTP/3", h2: "HTTP/2", "http/1.1": "HTTP/1.1", "http/1.0": "HTTP/1.0" };

export const protocolName = (id: string): string => PROTOCOLS[id] ?? (id || "unknown");

export interface CacheStatus {
  /** `hit`, `miss` (it had to be forwarded), or `none`: no field, or nothing that can be read. */
  readonly result: "hit" | "miss" | "none";
  readonly detail: string;
}

/** Whose store the bytes came from: the relay's own, another relay's, the origin's; or nobody says. */
export type Source = "store" | "peer" | "origin" | "unknown";

/** Reads a Cache-Status field (RFC 9211): the last member is the cache next to the player. */
export function readCacheStatus(field: string): CacheStatus {
  if (!field) return { result: "none", detail: "" };
  const member = splitOutsideQuotes(field, ",").at(-1) ?? "";
  const [, ...parameters] = splitOutsideQuotes(member, ";");
  const values = new Map(parameters.map((text): [string, string] => {
    const [name = "", value = "true"] = splitOutsideQuotes(text, "=");
    return [name, value.replace(/^"|"$/g, "")];
  }));
  const result = values.has("hit") ? "hit" : values.has("fwd") ? "miss" : "none";
  return { result, detail: values.get("detail") ?? (result === "miss" ? values.get("fwd") ?? "" : "") };
}

/** Where the bytes came from before the server that sent them. */
export function sourceOf({ result, detail }: CacheStatus): Source {
  if (result === "hit") return "store";
  if (result === "none") return "unknown";
  return detail === "peer" ? "peer" : "origin";
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts = [""];
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    if (character === separator && !quoted) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}

export interface Segment {
  /** Milliseconds since the page was loaded at which it was whole. */
  readonly at: number;
  readonly date: Date;
  readonly number: number | string;
  readonly level: string;
  readonly relay: string;
  readonly url: string;
  readonly bytes: number;
  protocol: string;
  readonly cacheStatus: string;
  readonly cache: CacheStatus;
  readonly source: Source;
  firstByteMs: number;
  durationMs: number;
  mbps: number;
  readonly verified: boolean;
  receipt: "none" | "waiting" | "accepted" | "refused";
  /** How many servers were left before this one. */
  readonly left: number;
}

export class Measurements {
  readonly segments: Segment[] = [];
  readonly #timings = new Map<string, PerformanceResourceTiming>();
  readonly #onChange: (segment: Segment) => void;

  /** `onChange` is called with each row that is new or was completed. */
  constructor(onChange: (segment: Segment) => void) {
    this.#onChange = onChange;
    performance.setResourceTimingBufferSize(TIMING_BUFFER);
    performance.addEventListener("resourcetimingbufferfull", () => performance.clearResourceTimings());
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => this.#timed(entry as PerformanceResourceTiming)))
      .observe({ type: "resource", buffered: true });
  }

  /** Records what was fetched, from the loader's report of a request that succeeded. */
  add(report: MediaReport, relay: string, level: string, number: number | string, receipts: boolean): Segment {
    const cacheStatus = report.headers?.get("cache-status") ?? "";
    const cache = readCacheStatus(cacheStatus);
    const won = report.attempts.find(({ url, reason }) => url === report.url && !reason) ?? report.attempts.at(-1)!;
    const segment: Segment = {
      at: performance.now(), date: new Date(), number, level, relay, url: report.url, bytes: report.bytes, protocol: "", cacheStatus, cache,
      source: sourceOf(cache), firstByteMs: won.firstByteAt - won.startedAt, durationMs: won.endedAt - won.startedAt, mbps: 0,
      verified: report.verified, receipt: receipts ? "waiting" : "none", left: report.attempts.filter(({ reason }) => reason).length,
    };
    segment.mbps = rate(segment);
    this.segments.push(segment);
    if (this.segments.length > KEPT_SEGMENTS) this.segments.shift();
    const timing = this.#timings.get(segment.url);
    if (timing) complete(segment, timing);
    this.#onChange(segment);
    return segment;
  }

  /** A relay has answered a receipt, which covers all that it has sent so far. */
  receipt(relay: string, outcome: "accepted" | "refused"): void {
    for (const segment of this.segments) {
      if (segment.relay !== relay || segment.receipt !== "waiting") continue;
      segment.receipt = outcome;
      this.#onChange(segment);
    }
  }

  #timed(entry: PerformanceResourceTiming): void {
    if (entry.initiatorType !== "xmlhttprequest" && entry.initiatorType !== "fetch") return;
    this.#timings.delete(entry.name);
    this.#timings.set(entry.name, entry);
    const [oldest] = this.#timings.keys();
    if (this.#timings.size > KEPT_TIMINGS && oldest) this.#timings.delete(oldest);
    const waiting = this.segments.findLast((segment) => segment.url === entry.name && !segment.protocol);
    if (waiting) {
      complete(waiting, entry);
      this.#onChange(waiting);
    }
  }
}

/** The browser's own clock is nearer to the wire than a script's; without Timing-Allow-Origin it shows zeros. */
function complete(segment: Segment, timing: PerformanceResourceTiming): void {
  segment.protocol = timing.nextHopProtocol;
  if (timing.responseStart > 0) {
    segment.firstByteMs = timing.responseStart - timing.requestStart;
    segment.durationMs = timing.responseEnd - timing.requestStart;
    segment.mbps = rate(segment);
  }
}

const rate = ({ bytes, durationMs }: Segment): number => (durationMs > 0 ? (bytes * 8) / durationMs / 1000 : 0);
