import { type Bytes } from "./bytes.js";
/** By how much two honest clocks may differ, in milliseconds. */
export declare const CLOCK_SKEW_MS = 300000;
export declare class KeyRing {
    readonly publisher: string;
    readonly issued: number;
    readonly expires: number;
    private readonly entries;
    private constructor();
    /** Verifies a signed list of `publisher` at the time `now`, in milliseconds since 1970. */
    static verify(publisher: string, list: Bytes, now: number): Promise<KeyRing>;
    /** The key with this id, if it may sign at `at`. Signatures carry whole seconds, so its first second counts whole. */
    key(id: string, at: number): Bytes | undefined;
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
/** Asks `origin` who its publisher is. Nothing of the answer is believed before the root key verified it. */
export declare function wellKnown(origin: string, signal: AbortSignal): Promise<WellKnown>;
