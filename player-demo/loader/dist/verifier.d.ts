import type { Bytes } from "./bytes.js";
import { KeyRing, type WellKnown } from "./keys.js";
import { type Verified } from "./record.js";
/** Bytes that are not the publisher's, or of which nobody can say so. */
export declare class Forged extends Error {
    readonly name = "Forged";
}
export interface VerifierOptions {
    /** The publisher whose content it must be. Without it, whoever the first server names is believed. */
    readonly publisher?: string | undefined;
    /** Where key lists are asked for, in this order: the publisher's adapter, relays. */
    readonly keySources: () => string[];
}
export declare class Verifier {
    #private;
    private readonly options;
    constructor(options: VerifierOptions);
    /** Whose content is played, once that is known. */
    get publisher(): string | undefined;
    /** What the server of this origin says of itself; nothing if it says nothing. */
    server(origin: string): Promise<WellKnown | undefined>;
    /** The publisher's keys, from the first source that has a list the root key signed. */
    ring(): Promise<KeyRing>;
    /** Whether a network of signed content is to be found at all. */
    isPossible(): Promise<boolean>;
    /** Checks a whole body that `url` answered; the error says what is wrong with it. */
    check(url: string, headers: Headers, body: ArrayBuffer): Promise<Verified>;
    /**
     * The publisher's SHA-256 of a range, from the first of these URLs of one resource whose server has the signed page for it;
     * nothing if none has: then only the whole can be checked.
     */
    rangeDigest(urls: readonly string[], { start, end }: {
        start: number;
        end: number;
    }): Promise<Bytes | undefined>;
}
