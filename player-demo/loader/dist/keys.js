// A publisher's signing keys, as its root key signed them.
//
// Invariant: a `KeyRing` exists only for a list whose root signature verified and which was valid then; a key signs for
// nothing outside its time. An older list never replaces a newer one, so that a revoked key stays revoked.
import { equal, fromBase64, hex, publisherKey } from "./bytes.js";
import { decode, Members } from "./cbor.js";
import { keyId, open } from "./cose.js";
const CONTEXT = "weir/keys/1";
const MAX_KEYS = 16;
const MAX_LIST = 4096;
/** By how much two honest clocks may differ, in milliseconds. */
export const CLOCK_SKEW_MS = 300_000;
export class KeyRing {
    publisher;
    issued;
    expires;
    entries;
    constructor(publisher, issued, expires, entries) {
        this.publisher = publisher;
        this.issued = issued;
        this.expires = expires;
        this.entries = entries;
    }
    /** Verifies a signed list of `publisher` at the time `now`, in milliseconds since 1970. */
    static async verify(publisher, list, now) {
        if (list.length > MAX_LIST)
            throw new Error("the key list is too long");
        const root = publisherKey(publisher);
        const members = new Members(decode(await open(list, CONTEXT, root)), "the key list");
        if (!equal(members.bytes(0, 32), root))
            throw new Error("the key list belongs to another publisher");
        const [issued, expires] = [members.number(1), members.number(2)];
        if (issued > now + CLOCK_SKEW_MS)
            throw new Error("the key list was issued in the future: is the clock right?");
        if (now >= expires)
            throw new Error("the key list has expired");
        const entries = [];
        for (const item of members.list(3, MAX_KEYS)) {
            const entry = new Members(item, "a key");
            const [id, key] = [entry.bytes(0, 8), entry.bytes(1, 32)];
            const isKnown = entries.some((other) => other.id === hex(id));
            if (isKnown || !equal(id, await keyId(key)))
                throw new Error("the key list holds an unusable key");
            entries.push({ id: hex(id), key, from: entry.number(2), until: entry.number(3) });
        }
        return new KeyRing(publisher, issued, expires, entries);
    }
    /** The key with this id, if it may sign at `at`. Signatures carry whole seconds, so its first second counts whole. */
    key(id, at) {
        const entry = this.entries.find((one) => one.id === id);
        const isInTime = entry && Math.floor(at / 1000) >= Math.floor(entry.from / 1000) && at < entry.until;
        return isInTime ? entry.key : undefined;
    }
}
const MAX_WELL_KNOWN = 64 * 1024;
/** Asks `origin` who its publisher is. Nothing of the answer is believed before the root key verified it. */
export async function wellKnown(origin, signal) {
    const answer = await fetch(new URL("/.well-known/weir", origin), { signal, cache: "no-cache", credentials: "omit" });
    if (!answer.ok)
        throw new Error(`${origin} has no /.well-known/weir (${answer.status})`);
    const text = await answer.text();
    if (text.length > MAX_WELL_KNOWN)
        throw new Error("the document at /.well-known/weir is too long");
    const { version, publisher, keys, relay, epoch_ms: epochMs } = JSON.parse(text);
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
