// Receipts of a viewer: what arrived whole and verified, relay by relay, signed by the key that the session's token
// confirms, and sent to the relays that sent it.
//
// Invariant: the secret key cannot leave the browser; counters only rise within an epoch; a receipt names a session by
// its token's hash and nothing else of the viewer.
import { base64url, compare, publisherKey, relayBytes, utf8 } from "./bytes.js";
import { encode } from "./cbor.js";
import { seal } from "./cose.js";
const CONTEXT = "weir/viewer-receipt/1";
const DEFAULT_EPOCH_MS = 3_600_000;
const MAX_RELAYS = 16;
const SEND_EVERY_MS = 10_000;
const PATIENCE_MS = 4000;
/** Wait before a server that has no `/weir/receipt` is asked again. */
const ABSENT_MS = 60_000;
/** Makes a key that cannot be extracted. Fails where WebCrypto has no Ed25519: then there are no receipts. */
export async function sessionKey() {
    const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]));
    return describe(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)), pair.privateKey);
}
export async function describe(publicKey, secret) {
    const x = base64url(publicKey);
    const digest = await crypto.subtle.digest("SHA-256", utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`));
    return { publicKey, secret, jwk: { kty: "OKP", crv: "Ed25519", x }, thumbprint: base64url(new Uint8Array(digest)) };
}
/** The signed message. */
export function sign(receipt, key) {
    const relays = receipt.shares.map(({ relay, bytes, objects }) => ({ relay: relayBytes(relay), bytes, objects }));
    relays.sort((one, other) => compare(one.relay, other.relay));
    const members = [
        [0, publisherKey(receipt.publisher)], [1, receipt.tokenHash], [2, key.publicKey], [3, receipt.epoch], [4, receipt.counter],
        [5, relays.map((one) => new Map([[0, one.relay], [1, one.bytes], [2, one.objects]]))], [6, receipt.time],
    ];
    return seal(encode(new Map(members)), CONTEXT, key.publicKey, key.secret);
}
/** Counts what arrived and sends receipts of it. */
export class Receipts {
    options;
    onSent;
    #epoch = 0;
    #counter = 0;
    #shares = new Map();
    /** Where each relay's receipts go. */
    #places = new Map();
    #absentUntil = new Map();
    #isDue = false;
    #timer;
    #tokenHash;
    constructor(options, onSent) {
        this.options = options;
        this.onSent = onSent;
        this.#timer = setInterval(() => void this.send(), SEND_EVERY_MS);
        this.#tokenHash = crypto.subtle.digest("SHA-256", utf8(options.token)).then((digest) => new Uint8Array(digest));
    }
    /** Counts an object that arrived whole from `relay` at `origin` and is what the publisher signed. */
    add(publisher, relay, origin, bytes, epochMs) {
        const epoch = Math.floor(Date.now() / (this.options.epochMs ?? epochMs ?? DEFAULT_EPOCH_MS));
        if (epoch !== this.#epoch) {
            if (this.#isDue)
                void this.send();
            [this.#epoch, this.#counter, this.#shares] = [epoch, 0, new Map()];
        }
        this.publisher = publisher;
        const share = this.#shares.get(relay) ?? { relay, bytes: 0, objects: 0 };
        if (!this.#shares.has(relay) && this.#shares.size >= MAX_RELAYS)
            return;
        share.bytes += bytes;
        share.objects += 1;
        this.#shares.set(relay, share);
        this.#places.set(relay, origin);
        this.#isDue = true;
    }
    publisher = "";
    /** Signs what was counted and sends it to each relay in it. */
    async send() {
        if (!this.#isDue)
            return;
        this.#isDue = false;
        this.#counter += 1;
        const shares = [...this.#shares.values()].map((share) => ({ ...share }));
        const receipt = { publisher: this.publisher, epoch: this.#epoch, counter: this.#counter, shares, time: Date.now() };
        const message = await sign({ ...receipt, tokenHash: await this.#tokenHash }, this.options.key);
        await Promise.all(shares.map(({ relay }) => this.#post(relay, message)));
    }
    async #post(relay, message) {
        const origin = this.#places.get(relay);
        if ((this.#absentUntil.get(origin) ?? 0) > performance.now())
            return;
        const outcome = await fetch(`${origin}/weir/receipt`, {
            method: "POST", body: message, headers: { "Content-Type": "application/cose" }, credentials: "omit", keepalive: true,
            signal: AbortSignal.timeout(PATIENCE_MS),
        }).then(({ ok, status }) => (ok ? "accepted" : [404, 405].includes(status) ? "absent" : "refused"), () => "absent");
        if (outcome === "absent")
            this.#absentUntil.set(origin, performance.now() + ABSENT_MS);
        this.onSent(relay, outcome);
    }
    /** Sends what is left, and ends. */
    end() {
        clearInterval(this.#timer);
        void this.send();
    }
}
