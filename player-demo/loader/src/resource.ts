// The one name of a resource that players, relays and records agree on.
//
// Invariant: the same as the relays' own: percent-encoding and dot segments are normalised (RFC 3986 section 6.2.2), what
// a player adds for itself is left out of the query, and delivery directives stand sorted at its end. A path that leads
// above the root, or a broken encoding, throws.

const PLAIN_IN_PATH = "!$&'()*+,;=:@/";
const PLAIN_IN_QUERY = `${PLAIN_IN_PATH}?`;
/** What addresses us, a steering server or a collector, never the origin. */
const STRIPPED = new Set(["weir_token", "CMCD", "_HLS_pathway", "_HLS_throughput"]);
const MAX = 4096;
const encoder = new TextEncoder();

const isUnreserved = (octet: number): boolean => /[A-Za-z0-9\-._~]/.test(String.fromCharCode(octet)) && octet < 0x80;

function normalise(text: string, plain: string, refused: (octet: number) => boolean): string {
  let out = "";
  const bytes = encoder.encode(text);
  const encoded = (octet: number): string => `%${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]!;
    const character = String.fromCharCode(byte);
    if (character === "%") {
      const digits = String.fromCharCode(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0);
      if (!/^[0-9A-Fa-f]{2}$/.test(digits)) throw new Error("broken percent-encoding");
      const octet = Number.parseInt(digits, 16);
      if (refused(octet)) throw new Error("a control character in the path");
      out += isUnreserved(octet) ? String.fromCharCode(octet) : encoded(octet);
      at += 2;
    } else if (byte <= 0x20 || byte === 0x7f || character === "\\") {
      throw new Error("a control character, space or backslash in the URL");
    } else {
      out += isUnreserved(byte) || (byte < 0x80 && plain.includes(character)) ? character : encoded(byte);
    }
  }
  return out;
}

function path(text: string): string {
  const parts = normalise(text, PLAIN_IN_PATH, (octet) => octet < 0x20 || octet === 0x7f || octet === 0x5c).slice(1).split("/");
  const kept: string[] = [];
  for (const part of parts) {
    if (part === "..") {
      if (kept.pop() === undefined) throw new Error("the path leads above the root");
    } else if (part !== ".") {
      kept.push(part);
    }
  }
  if (kept.some((part) => part.includes("%2F") && part.split("%2F").includes(".."))) {
    throw new Error("the path leads above the root");
  }
  const endsInDots = [".", ".."].includes(parts.at(-1) ?? "");
  const out = kept.map((part) => `/${part}`).join("");
  return endsInDots || out === "" ? `${out}/` : out;
}

function query(text: string): string {
  const name = (parameter: string): string => parameter.split("=", 1)[0]!;
  const kept = normalise(text, PLAIN_IN_QUERY, (octet) => octet === 0)
    .split("&")
    .filter((parameter) => parameter !== "" && !STRIPPED.has(name(parameter)));
  const isDirective = (parameter: string): boolean => name(parameter).startsWith("_HLS_");
  const directives = kept.filter(isDirective).sort((one, other) => (one < other ? -1 : Number(one > other)));
  return [...kept.filter((parameter) => !isDirective(parameter)), ...directives].join("&");
}

/** The canonical path with query of a request target. */
export function canonical(target: string): string {
  if (!target.startsWith("/") || target.includes("#")) throw new Error("a request target starts with a slash and has no fragment");
  if (encoder.encode(target).length > MAX) throw new Error("path and query exceed 4096 bytes");
  const mark = target.indexOf("?");
  const first = path(mark < 0 ? target : target.slice(0, mark));
  const rest = mark < 0 ? "" : query(target.slice(mark + 1));
  const whole = rest ? `${first}?${rest}` : first;
  if (whole.length > MAX) throw new Error("path and query exceed 4096 bytes");
  return whole;
}

/** The names under which a URL may be known: as it is, and without a publisher's constant first path component. */
export function targets(url: string): string[] {
  const { pathname, search } = new URL(url);
  const rest = pathname.indexOf("/", 1);
  const spelled = [pathname, ...(rest > 0 ? [pathname.slice(rest)] : [])];
  return spelled.map((text) => canonical(text + search));
}
