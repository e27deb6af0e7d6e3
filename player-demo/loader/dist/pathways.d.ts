/** One server: a relay, the origin, another CDN. */
export interface Pathway {
    /** A name for people. */
    readonly name: string;
    /** Scheme, host and port. */
    readonly origin: string;
    /** The relay's PeerId, where it is known; receipts name it. */
    readonly relay?: string | undefined;
}
/** Why a server was left. */
export type Reason = "refused" | "timeout" | "slow" | "status" | "forged" | "asked";
export declare class Pathways {
    #private;
    private readonly now;
    constructor(given: readonly Pathway[], now?: () => number);
    get all(): readonly Pathway[];
    /** Learns of a server that a playlist names. */
    learn(url: string, name: string): void;
    find(url: string): Pathway | undefined;
    /** Asks this server first from now on; nothing: the one that a playlist names. */
    prefer(origin: string | undefined): void;
    get preferred(): string | undefined;
    /** URLs of the same resource in the order in which they should be tried. What is on no known server has one alone. */
    candidates(url: string): string[];
    succeeded(url: string, firstByteMs: number): void;
    failed(url: string, reason: Reason): void;
    /** Whether a server is being left alone, and why. */
    state(origin: string): {
        readonly avoided: boolean;
        readonly reason: Reason | undefined;
        readonly firstByteMs: number | undefined;
    };
    /** Forgets what is held against a server, for instance when somebody has mended it. */
    forgive(origin: string): void;
}
