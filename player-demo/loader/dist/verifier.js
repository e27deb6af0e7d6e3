// Whether what a relay sent is what the publisher signed.
//
// Invariant: `check` ends well only for bytes that a signed record of the resource asked for describes. Where the record
// is not in the headers (the response left before its digest was known) it is asked for at the same server.
import { dictionary } from "./fields.js";
import { canonical, targets as targetsOf } from "./resource.js";
import { KeyRing, wellKnown } from "./keys.js";
import { fieldsOf, fieldsOfJson, isBody, verifyRecord } from "./record.js";
/** Bytes that are not the publisher's, or of which nobody can say so. */
export class Forged extends Error {
    name = "Forged";
}
/** Longest wait for a key list or a record. */
const PATIENCE_MS = 4000;
/** A list is looked at again when it is this old, since the next one may revoke a key. */
const RENEW_MS = 600_000;
const MAX_RECORD = 64 * 1024;
export class Verifier {
    options;
    #ring;
    #asked = 0;
    #asking;
    /** What relays said of themselves. */
    #said = new Map();
    constructor(options) {
        this.options = options;
    }
    /** Whose content is played, once that is known. */
    get publisher() {
        return this.#ring?.publisher ?? this.options.publisher;
    }
    /** What the server of this origin says of itself; nothing if it says nothing. */
    async server(origin) {
        const known = this.#said.get(origin);
        if (known)
            return known;
        const said = await wellKnown(origin, AbortSignal.timeout(PATIENCE_MS)).catch(() => undefined);
        if (said)
            this.#said.set(origin, said);
        return said;
    }
    /** The publisher's keys, from the first source that has a list the root key signed. */
    async ring() {
        const now = Date.now();
        const isFresh = this.#ring && now < this.#ring.expires && now - this.#asked < RENEW_MS;
        if (isFresh)
            return this.#ring;
        this.#asking ??= this.#ask().finally(() => { this.#asking = undefined; });
        try {
            return await this.#asking;
        }
        catch (error) {
            // A list that could not be renewed in time is still good until it expires.
            if (this.#ring && now < this.#ring.expires)
                return this.#ring;
            throw error;
        }
    }
    async #ask() {
        const reasons = [];
        for (const source of this.options.keySources()) {
            try {
                const said = await wellKnown(source, AbortSignal.timeout(PATIENCE_MS));
                const ring = await KeyRing.verify(this.publisher ?? said.publisher, said.keys, Date.now());
                if (!this.#ring || ring.issued >= this.#ring.issued)
                    this.#ring = ring;
                this.#asked = Date.now();
                return this.#ring;
            }
            catch (error) {
                reasons.push(`${source}: ${error instanceof Error ? error.message : String(error)}`);
            }
        }
        throw new Forged(`no key list of the publisher is to be had (${reasons.join("; ") || "no source is known"})`);
    }
    /** Whether a network of signed content is to be found at all. */
    async isPossible() {
        return this.ring().then(() => true, () => false);
    }
    /** Checks a whole body that `url` answered; the error says what is wrong with it. */
    check(url, headers, body) {
        return this.#checkAs(targetsOf(url), url, headers, body);
    }
    async #checkAs(names, url, headers, body) {
        const ring = await this.ring();
        const inHeaders = fieldsOf((name) => headers.get(name));
        const record = await verifyRecord(inHeaders ?? (await this.#record(url)), names, ring, Date.now()).catch((error) => {
            throw new Forged(error instanceof Error ? error.message : String(error));
        });
        if (record.status !== 200)
            throw new Forged(`the publisher's answer has status ${record.status}`);
        if (!(await isBody(record, body)))
            throw new Forged("the bytes are not those that the publisher signed");
        return record;
    }
    /**
     * The publisher's SHA-256 of a range, from the first of these URLs of one resource whose server has the signed page for it;
     * nothing if none has: then only the whole can be checked.
     */
    async rangeDigest(urls, { start, end }) {
        const range = `${start}-${end - 1}`;
        for (const url of urls) {
            const { origin, pathname, search } = new URL(url);
            const names = targetsOf(url);
            try {
                const at = `${origin}/weir/record?key=${percentEncoded(canonical(pathname + search))}&range=${range}`;
                const answer = await fetch(at, { signal: AbortSignal.timeout(PATIENCE_MS), credentials: "omit" });
                if (!answer.ok)
                    continue;
                const body = await answer.arrayBuffer();
                const pages = names.map((name) => canonical(`/weir/record?key=${percentEncoded(name)}&range=${range}`));
                await this.#checkAs(pages, at, answer.headers, body);
                const page = JSON.parse(new TextDecoder().decode(body));
                const { key, content_range: covers, content_digest: digest } = page;
                const isOfIt = typeof key === "string" && names.includes(key) && String(covers).startsWith(`bytes ${range}/`);
                const found = dictionary(String(digest)).get("sha-256")?.value;
                if (isOfIt && found instanceof Uint8Array)
                    return found;
            }
            catch {
                // Another server may have an honest page, and without one the whole is checked.
            }
        }
        return undefined;
    }
    async #record(url) {
        const { origin, pathname, search } = new URL(url);
        const at = `${origin}/weir/record?key=${encodeURIComponent(pathname + search)}`;
        const answer = await fetch(at, { signal: AbortSignal.timeout(PATIENCE_MS), credentials: "omit", cache: "no-store" });
        if (!answer.ok)
            throw new Error(`no signed record of it is to be had (${answer.status})`);
        const text = await answer.text();
        if (text.length > MAX_RECORD)
            throw new Error("its record is too long");
        return fieldsOfJson(JSON.parse(text));
    }
}
/** Everything but RFC 3986 unreserved characters. */
const percentEncoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
