// A publisher's signing keys, as its root key signed them.
//
// Invariant: a `KeyRing` exists only for a list whose root signature verified and which was valid then; a key signs for
// nothing outside its time. An older list never replaces a newer one, so that a revoked key stays revoked.

import { equal, fromBase64, hex, publisherKey, type Bytes } from "./bytes.js";
import { decode, Members } from "./cbor.js";
import { keyId, open } from "./cose.js";

const CONTEXT = "weir/keys/1";
const MAX_KEYS = 16;
const MAX_LIST = 4096;
/** By how much two honest clocks may differ, in milliseconds. */
export const CLOCK_SKEW_MS = 300_000;

interface Entry { readonly id: string; readonly key: Bytes; readonly from: number; readonly until: number }

export class KeyRing {
  private constructor(readonly publisher: string, readonly issued: number, readonly expires: number, private readonly entries: Entry[]) {}

  /** Verifies a signed list of `publisher` at the time `now`, in milliseconds since 1970. */
  static async verify(publisher: string, list: Bytes, now: number): Promise<KeyRing> {
    if (list.length > MAX_LIST) throw new Error("the key list is too long");
    const root = publisherKey(publisher);
    const members = new Members(decode(await open(list, CONTEXT, root)), "the key list");
    if (!equal(members.bytes(0, 32), root)) throw new Error("the key list belongs to another publisher");
    const [issued, expires] = [members.number(1), members.number(2)];
    if (issued > now + CLOCK_SKEW_MS) throw new Error("the key list was issued in the future: is the clock right?");
    if (now >= expires) throw new Error("the key list has expired");
    const entries: Entry[] = [];
    for (const item of members.list(3, MAX_KEYS)) {
      const entry = new Members(item, "a key");
      const [id, key] = [entry.bytes(0, 8), entry.bytes(1, 32)];
      const isKnown = entries.some((other) => other.id === hex(id));
      if (isKnown || !equal(id, await keyId(key))) throw new Error("the key list holds an unusable key");
      entries.push({ id: hex(id), key, from: entry.number(2), until: entry.number(3) });
    }
    return new KeyRing(publisher, issued, expires, entries);
  }

  /** The key with this id, if it may sign at `at`. Signatures carry whole seconds, so its first second counts whole. */
  key(id: string, at: number): Bytes | undefined {
    const entry = this.entries.find((one) => one.id === id);
    const isInTime = entry && Math.floor(at / 1000) >= Math.floor(entry.from / 1000) && at < entry.until;
    return isInTime ? entry.key : undefined;
  }
}

/** What a server says at `/.well-known/weir`, as far as a player needs it. */
export interface WellKnown {
  readonly publisher: string;
  readonly keys: Bytes;
  /** The PeerId of the relay that answered, where one did. */
  readonly relay: string | undefined;
  /** Length of an epoch of receipts, where the publisher says one. */
  readonly epochMs: number | undefined;
}

const MAX_WELL_KNOWN = 64 * 1024;

/** Asks `origin` who its publisher is. Nothing of the answer is believed before the root key verified it. */
export async function wellKnown(origin: string, signal: AbortSignal): Promise<WellKnown> {
  const answer = await fetch(new URL("/.well-known/weir", origin), { signal, cache: "no-cache", credentials: "omit" });
  if (!answer.ok) throw new Error(`${origin} has no /.well-known/weir (${answer.status})`);
  const text = await answer.text();
  if (text.length > MAX_WELL_KNOWN) throw new Error("the document at /.well-known/weir is too long");
  const { version, publisher, keys, relay, epoch_ms: epochMs } = JSON.parse(text) as Record<string, unknown>;
  if (version !== 1 || typeof publisher !== "string" || typeof keys !== "string") {
    throw new Error("the document at /.well-known/weir is of another kind");
  }
  return {
    publisher,
    keys: fromBase64(keys),
    relay: typeof relay === "string" ? relay : undefined,
    epochMs: typeof epochMs === "number" && epochMs >= 1000 ? epochMs : undefined,
  };
}
