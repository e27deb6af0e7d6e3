import { type Attempt, type Got, type Want } from "./fetcher.js";
import { Pathways, type Pathway } from "./pathways.js";
import { type ReceiptOptions } from "./receipts.js";
import { Verifier } from "./verifier.js";
export interface WeirOptions {
    /** The publisher's id (`pub-…`). Without it, whoever the first server names at `/.well-known/weir` is believed. */
    publisher?: string;
    /** Servers that have the same paths, in order of preference. More are learnt from multivariant playlists. */
    pathways?: Pathway[];
    /** Origins to ask for the publisher's key list first, such as that of its adapter. Relays are asked as well. */
    keySources?: string[];
    /**
     * `require` (default): media that is not signed by the publisher is refused. `auto`: that, if a key list is to be had
     * when playback begins; otherwise as `off`. `off`: nothing is checked, fail-over works all the same.
     */
    verify?: "require" | "auto" | "off";
    /** Signs receipts of what was verified, for a session token whose `cnf` is this key. */
    receipts?: ReceiptOptions;
    /** Told of every media request that has ended. */
    onMedia?: (report: MediaReport) => void;
    /** Told of each receipt that was sent. */
    onReceipt?: (relay: string, outcome: "accepted" | "refused" | "absent") => void;
}
export interface MediaReport {
    readonly url: string;
    /** The server it came from; absent when none had it, or when it is on no known pathway. */
    readonly pathway: Pathway | undefined;
    readonly bytes: number;
    readonly headers: Headers | undefined;
    readonly verified: boolean;
    /** Servers that were asked, in order, with what was wrong with those that did not serve. */
    readonly attempts: readonly Attempt[];
    /** What the player wanted it for, as its adapter says. */
    readonly tag: unknown;
}
/** The fail-over options that were measured: a hang is left within this, and the same URL is not tried again. */
export declare const FIRST_BYTE_MS = 2500;
export declare const PLAYLIST_MS = 4000;
export declare const MEDIA_MS = 20000;
export declare class Session {
    #private;
    readonly options: WeirOptions;
    readonly pathways: Pathways;
    readonly verifier: Verifier;
    constructor(options: WeirOptions);
    /** Whether media is checked. */
    verifies(): Promise<boolean>;
    /** A playlist: from wherever it is to be had. Its text is not checked, since relays may rewrite it; what it lists is. */
    playlist(url: string, limits: Pick<Want, "firstByteMs" | "totalMs">, signal: AbortSignal, headers?: Record<string, string>): Promise<Got>;
    /** A segment, part or initialisation section, or a range of one. `earlier` is what was tried before, by the player itself. */
    media(want: Omit<Want, "verify">, tag: unknown, earlier?: readonly Attempt[]): Promise<Got>;
    /** Checks a whole body that the player fetched itself; what is wrong with it comes back as an attempt that failed. */
    received(url: string, status: number, headers: Headers, data: ArrayBuffer, tag: unknown): Promise<Attempt | undefined>;
    /** Sends the last receipt. */
    end(): void;
}
