// The part of CBOR (RFC 8949) that this protocol uses, in its deterministic encoding (section 4.2).
//
// Invariant: `decode` accepts only what `encode` would write, so one value has one encoding and a signature covers one
// meaning. Depth and length are bounded before anything is allocated.

import { concat, compare, equal, utf8, type Bytes } from "./bytes.js";

export type Cbor = number | string | Bytes | boolean | null | Cbor[] | Map<number, Cbor> | Tagged;

export interface Tagged {
  readonly tag: number;
  readonly value: Cbor;
}

const MAX_DEPTH = 8;
const decoder = new TextDecoder("utf-8", { fatal: true });

function head(major: number, value: number): Bytes {
  const first = major << 5;
  if (value < 24) return Uint8Array.of(first | value);
  if (value < 0x100) return Uint8Array.of(first | 24, value);
  const size = value < 0x10000 ? 2 : value < 0x1_0000_0000 ? 4 : 8;
  const out = new Uint8Array(1 + size);
  out[0] = first | (size === 2 ? 25 : size === 4 ? 26 : 27);
  let rest = value;
  for (let at = size; at > 0; at -= 1) {
    out[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return out;
}

function integer(value: number): Bytes {
  if (!Number.isSafeInteger(value)) throw new Error("an integer beyond 53 bits");
  return value < 0 ? head(1, -1 - value) : head(0, value);
}

export function encode(value: Cbor): Bytes {
  if (typeof value === "number") return integer(value);
  if (typeof value === "string") return concat(head(3, utf8(value).length), utf8(value));
  if (typeof value === "boolean") return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (value === null) return Uint8Array.of(0xf6);
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map(encode));
  if (value instanceof Map) {
    const pairs = [...value].map(([key, inner]) => [encode(key), encode(inner)] as const);
    pairs.sort(([one], [other]) => compare(one, other));
    return concat(head(5, pairs.length), ...pairs.flat());
  }
  return concat(head(6, value.tag), encode(value.value));
}

class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  take(count: number): Bytes {
    if (count > this.bytes.length - this.at) throw new Error("CBOR ends early");
    this.at += count;
    return this.bytes.slice(this.at - count, this.at);
  }

  value(depth: number): Cbor {
    if (depth > MAX_DEPTH) throw new Error("CBOR is nested too deeply");
    const first = this.take(1)[0]!;
    const [major, small] = [first >> 5, first & 31];
    if (major === 7) {
      if (small === 20 || small === 21) return small === 21;
      if (small === 22) return null;
      throw new Error("CBOR of a kind that is not used here");
    }
    const count = small < 24 ? small : this.argument(small);
    if (major === 0) return count;
    if (major === 1) return -1 - count;
    if (major === 2) return this.take(count);
    if (major === 3) return decoder.decode(this.take(count));
    if (major === 6) return { tag: count, value: this.value(depth + 1) };
    if (count > this.bytes.length - this.at) throw new Error("CBOR ends early");
    if (major === 4) return Array.from({ length: count }, () => this.value(depth + 1));
    const map = new Map<number, Cbor>();
    for (let left = count; left > 0; left -= 1) {
      const key = this.value(depth + 1);
      if (typeof key !== "number" || map.has(key)) throw new Error("a CBOR map with unfit keys");
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  argument(small: number): number {
    if (small > 27) throw new Error("CBOR of indefinite length");
    const value = this.take(1 << (small - 24)).reduce((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(value)) throw new Error("an integer beyond 53 bits");
    return value;
  }
}

export function decode(bytes: Uint8Array): Cbor {
  const value = new Reader(bytes).value(0);
  if (!equal(encode(value), bytes)) throw new Error("CBOR that is not deterministic, or with something behind it");
  return value;
}

/** Typed access to a map's members; the error names the member. */
export class Members {
  constructor(readonly map: Cbor, readonly what: string) {
    if (!(map instanceof Map)) throw new Error(`${what} is no map`);
  }

  #get(key: number): Cbor | undefined {
    return (this.map as Map<number, Cbor>).get(key);
  }

  number(key: number): number {
    const value = this.#get(key);
    if (typeof value !== "number" || value < 0) throw new Error(`${this.what}: member ${key} is no number`);
    return value;
  }

  bytes(key: number, length?: number): Bytes {
    const value = this.#get(key);
    if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) {
      throw new Error(`${this.what}: member ${key} is no byte string${length === undefined ? "" : ` of ${length}`}`);
    }
    return value;
  }

  list(key: number, most: number): Cbor[] {
    const value = this.#get(key);
    if (!Array.isArray(value) || value.length > most) throw new Error(`${this.what}: member ${key} is no list`);
    return value;
  }
}
