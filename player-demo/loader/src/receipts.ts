// Receipts of a viewer: what arrived whole and verified, relay by relay, signed by the key that the session's token
// confirms, and sent to the relays that sent it.
//
// Invariant: the secret key cannot leave the browser; counters only rise within an epoch; a receipt names a session by
// its token's hash and nothing else of the viewer.

import { base64url, compare, publisherKey, relayBytes, utf8, type Bytes } from "./bytes.js";
import { encode, type Cbor } from "./cbor.js";
import { seal } from "./cose.js";

const CONTEXT = "weir/viewer-receipt/1";
const DEFAULT_EPOCH_MS = 3_600_000;
const MAX_RELAYS = 16;
const SEND_EVERY_MS = 10_000;
const PATIENCE_MS = 4000;
/** Wait before a server that has no `/weir/receipt` is asked again. */
const ABSENT_MS = 60_000;

/** A session's key: its public half goes into the token (`cnf`), its secret half never leaves the browser. */
export interface SessionKey {
  readonly publicKey: Bytes;
  readonly secret: CryptoKey;
  /** RFC 8037 public key, for the token's `cnf.jwk`. */
  readonly jwk: { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string };
  /** RFC 7638 thumbprint, for the token's `cnf.jkt`. */
  readonly thumbprint: string;
}

/** Makes a key that cannot be extracted. Fails where WebCrypto has no Ed25519: then there are no receipts. */
export async function sessionKey(): Promise<SessionKey> {
  const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  return describe(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)), pair.privateKey);
}

export async function describe(publicKey: Bytes, secret: CryptoKey): Promise<SessionKey> {
  const x = base64url(publicKey);
  const digest = await crypto.subtle.digest("SHA-256", utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`));
  return { publicKey, secret, jwk: { kty: "OKP", crv: "Ed25519", x }, thumbprint: base64url(new Uint8Array(digest)) };
}

export interface Share { readonly relay: string; bytes: number; objects: number }

export interface Receipt {
  readonly publisher: string;
  readonly tokenHash: Bytes;
  readonly epoch: number;
  readonly counter: number;
  readonly shares: readonly Share[];
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** The signed message. */
export function sign(receipt: Receipt, key: SessionKey): Promise<Bytes> {
  const relays = receipt.shares.map(({ relay, bytes, objects }) => ({ relay: relayBytes(relay), bytes, objects }));
  relays.sort((one, other) => compare(one.relay, other.relay));
  const members: [number, Cbor][] = [
    [0, publisherKey(receipt.publisher)], [1, receipt.tokenHash], [2, key.publicKey], [3, receipt.epoch], [4, receipt.counter],
    [5, relays.map((one) => new Map<number, Cbor>([[0, one.relay], [1, one.bytes], [2, one.objects]]))], [6, receipt.time],
  ];
  return seal(encode(new Map(members)), CONTEXT, key.publicKey, key.secret);
}

export interface ReceiptOptions {
  /** The session token, whose `cnf` is this key. */
  readonly token: string;
  readonly key: SessionKey;
  /** Length of the publisher's epochs in milliseconds; one hour if nobody says otherwise. */
  readonly epochMs?: number | undefined;
}

type Outcome = "accepted" | "refused" | "absent";

/** Counts what arrived and sends receipts of it. */
export class Receipts {
  #epoch = 0;
  #counter = 0;
  #shares = new Map<string, Share>();
  /** Where each relay's receipts go. */
  readonly #places = new Map<string, string>();
  readonly #absentUntil = new Map<string, number>();
  #isDue = false;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #tokenHash: Promise<Bytes>;

  constructor(private readonly options: ReceiptOptions, private readonly onSent: (relay: string, outcome: Outcome) => void) {
    this.#timer = setInterval(() => void this.send(), SEND_EVERY_MS);
    this.#tokenHash = crypto.subtle.digest("SHA-256", utf8(options.token)).then((digest) => new Uint8Array(digest));
  }

  /** Counts an object that arrived whole from `relay` at `origin` and is what the publisher signed. */
  add(publisher: string, relay: string, origin: string, bytes: number, epochMs: number | undefined): void {
    const epoch = Math.floor(Date.now() / (this.options.epochMs ?? epochMs ?? DEFAULT_EPOCH_MS));
    if (epoch !== this.#epoch) {
      if (this.#isDue) void this.send();
      [this.#epoch, this.#counter, this.#shares] = [epoch, 0, new Map()];
    }
    this.publisher = publisher;
    const share = this.#shares.get(relay) ?? { relay, bytes: 0, objects: 0 };
    if (!this.#shares.has(relay) && this.#shares.size >= MAX_RELAYS) return;
    share.bytes += bytes;
    share.objects += 1;
    this.#shares.set(relay, share);
    this.#places.set(relay, origin);
    this.#isDue = true;
  }

  private publisher = "";

  /** Signs what was counted and sends it to each relay in it. */
  async send(): Promise<void> {
    if (!this.#isDue) return;
    this.#isDue = false;
    this.#counter += 1;
    const shares = [...this.#shares.values()].map((share) => ({ ...share }));
    const receipt = { publisher: this.publisher, epoch: this.#epoch, counter: this.#counter, shares, time: Date.now() };
    const message = await sign({ ...receipt, tokenHash: await this.#tokenHash }, this.options.key);
    await Promise.all(shares.map(({ relay }) => this.#post(relay, message)));
  }

  async #post(relay: string, message: Bytes): Promise<void> {
    const origin = this.#places.get(relay)!;
    if ((this.#absentUntil.get(origin) ?? 0) > performance.now()) return;
    const outcome = await fetch(`${origin}/weir/receipt`, {
      method: "POST", body: message, headers: { "Content-Type": "application/cose" }, credentials: "omit", keepalive: true,
      signal: AbortSignal.timeout(PATIENCE_MS),
    }).then(({ ok, status }): Outcome => (ok ? "accepted" : [404, 405].includes(status) ? "absent" : "refused"), (): Outcome => "absent");
    if (outcome === "absent") this.#absentUntil.set(origin, performance.now() + ABSENT_MS);
    this.onSent(relay, outcome);
  }

  /** Sends what is left, and ends. */
  end(): void {
    clearInterval(this.#timer);
    void this.send();
  }
}
