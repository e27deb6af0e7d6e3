// What the browser can prove about a segment that arrived: who sent it, over which protocol, from which cache, how fast.
//
// Two sources are joined: the request as hls.js saw it, and the browser's resource timing, which alone knows the protocol.
// The timing may arrive after the segment; the record is then completed later. Everything kept is bounded.

/** Segments and timings kept; older ones are forgotten. */
const KEPT_SEGMENTS = 1000;
const KEPT_TIMINGS = 300;
/** The browser stops recording timings when its buffer is full; it is emptied then, since only new entries matter. */
const TIMING_BUFFER = 500;

/** Names of `nextHopProtocol` (RFC 7301 identifiers) as people know them. */
const PROTOCOLS = { h3: "HTTP/3", h2: "HTTP/2", "http/1.1": "HTTP/1.1", "http/1.0": "HTTP/1.0" };

export const protocolName = (id) => PROTOCOLS[id] ?? (id || "unknown");

/**
 * Reads a Cache-Status field (RFC 9211): the last member is the cache next to the player.
 * `result` is "hit", "miss" (it had to be forwarded) or "none" (no field, or nothing that can be read).
 */
export function readCacheStatus(field) {
  if (!field) return { result: "none", detail: "" };
  const member = splitOutsideQuotes(field, ",").at(-1) ?? "";
  const [, ...parameters] = splitOutsideQuotes(member, ";");
  const values = new Map(parameters.map((text) => {
    const [name, value = "true"] = splitOutsideQuotes(text, "=");
    return [name, value.replace(/^"|"$/g, "")];
  }));
  const result = values.has("hit") ? "hit" : values.has("fwd") ? "miss" : "none";
  return { result, detail: values.get("detail") ?? (result === "miss" ? values.get("fwd") : "") };
}

function splitOutsideQuotes(text, separator) {
  const parts = [""];
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    if (character === separator && !quoted) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}

export class Measurements {
  /** @param {(segment: object) => void} onChange called with each record that is new or was completed */
  constructor(onChange) {
    this.segments = [];
    this.onChange = onChange;
    this.timings = new Map();
    performance.setResourceTimingBufferSize(TIMING_BUFFER);
    performance.addEventListener("resourcetimingbufferfull", () => performance.clearResourceTimings());
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => this.#timed(entry)))
      .observe({ type: "resource", buffered: true });
  }

  /**
   * Records a segment from the data of hls.js' FRAG_LOADED.
   * @param {string} relay name of the relay that served it
   * @param {string} level name of the rendition, such as "720p"
   */
  add(data, relay, level) {
    const { frag, networkDetails } = data;
    const { loading, total, loaded } = frag.stats;
    const cacheStatus = responseHeader(networkDetails, "cache-status");
    const segment = {
      at: new Date(),
      number: frag.sn,
      level,
      relay,
      url: networkDetails?.responseURL || frag.url,
      bytes: total || loaded,
      protocol: "",
      cacheStatus,
      cache: readCacheStatus(cacheStatus),
      firstByteMs: loading.first - loading.start,
      durationMs: loading.end - loading.start,
    };
    segment.mbps = rate(segment);
    this.segments.push(segment);
    if (this.segments.length > KEPT_SEGMENTS) this.segments.shift();
    const timing = this.timings.get(segment.url);
    if (timing) complete(segment, timing);
    this.onChange(segment);
  }

  #timed(entry) {
    if (entry.initiatorType !== "xmlhttprequest" && entry.initiatorType !== "fetch") return;
    this.timings.delete(entry.name);
    this.timings.set(entry.name, entry);
    if (this.timings.size > KEPT_TIMINGS) this.timings.delete(this.timings.keys().next().value);
    const waiting = this.segments.findLast((segment) => segment.url === entry.name && !segment.protocol);
    if (waiting) {
      complete(waiting, entry);
      this.onChange(waiting);
    }
  }
}

/** The browser's own clock is nearer to the wire than a script's; without Timing-Allow-Origin it shows zeros. */
function complete(segment, timing) {
  segment.protocol = timing.nextHopProtocol;
  if (timing.responseStart > 0) {
    segment.firstByteMs = timing.responseStart - timing.requestStart;
    segment.durationMs = timing.responseEnd - timing.requestStart;
    segment.mbps = rate(segment);
  }
}

const rate = ({ bytes, durationMs }) => (durationMs > 0 ? (bytes * 8) / durationMs / 1000 : 0);

/** Reads a header only if it is there: asking for one that is not exposed makes the browser log an error. */
function responseHeader(request, name) {
  const line = request?.getAllResponseHeaders?.().split("\r\n").find((text) => text.toLowerCase().startsWith(`${name}:`));
  return line ? line.slice(name.length + 1).trim() : "";
}
