import { type Bytes } from "./bytes.js";
/** A session's key: its public half goes into the token (`cnf`), its secret half never leaves the browser. */
export interface SessionKey {
    readonly publicKey: Bytes;
    readonly secret: CryptoKey;
    /** RFC 8037 public key, for the token's `cnf.jwk`. */
    readonly jwk: {
        readonly kty: "OKP";
        readonly crv: "Ed25519";
        readonly x: string;
    };
    /** RFC 7638 thumbprint, for the token's `cnf.jkt`. */
    readonly thumbprint: string;
}
/** Makes a key that cannot be extracted. Fails where WebCrypto has no Ed25519: then there are no receipts. */
export declare function sessionKey(): Promise<SessionKey>;
export declare function describe(publicKey: Bytes, secret: CryptoKey): Promise<SessionKey>;
export interface Share {
    readonly relay: string;
    bytes: number;
    objects: number;
}
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
export declare function sign(receipt: Receipt, key: SessionKey): Promise<Bytes>;
export interface ReceiptOptions {
    /** The session token, whose `cnf` is this key. */
    readonly token: string;
    readonly key: SessionKey;
    /** Length of the publisher's epochs in milliseconds; one hour if nobody says otherwise. */
    readonly epochMs?: number | undefined;
}
type Outcome = "accepted" | "refused" | "absent";
/** Counts what arrived and sends receipts of it. */
export declare class Receipts {
    #private;
    private readonly options;
    private readonly onSent;
    constructor(options: ReceiptOptions, onSent: (relay: string, outcome: Outcome) => void);
    /** Counts an object that arrived whole from `relay` at `origin` and is what the publisher signed. */
    add(publisher: string, relay: string, origin: string, bytes: number, epochMs: number | undefined): void;
    private publisher;
    /** Signs what was counted and sends it to each relay in it. */
    send(): Promise<void>;
    /** Sends what is left, and ends. */
    end(): void;
}
export {};
