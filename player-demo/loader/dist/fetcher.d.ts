import { Pathways, type Reason } from "./pathways.js";
import { type Verifier } from "./verifier.js";
import type { Verified } from "./record.js";
export interface Want {
    readonly url: string;
    /** `Range` in bytes, the end not included. */
    readonly range?: {
        readonly start: number;
        readonly end: number;
    } | undefined;
    readonly verify: boolean;
    /** SHA-256 that the bytes must have, where it is known beforehand; with `verify`, in the place of a record. */
    readonly digest?: Uint8Array | undefined;
    /** Longest wait for the first byte, and for the last one. */
    readonly firstByteMs: number;
    readonly totalMs: number;
    /** How long it may take before a second server is asked beside the first; nothing: it is waited for. */
    readonly budgetMs?: number | undefined;
    readonly headers?: Record<string, string> | undefined;
    readonly signal: AbortSignal;
    readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
}
/** One server's part in a request. */
export interface Attempt {
    readonly url: string;
    readonly startedAt: number;
    firstByteAt: number;
    endedAt: number;
    loaded: number;
    /** Why nothing came of it; absent for the one that succeeded, or that lost without fault. */
    reason?: Reason;
    status?: number;
    detail?: string;
}
export interface Got {
    readonly url: string;
    readonly status: number;
    readonly headers: Headers;
    readonly data: ArrayBuffer;
    readonly attempt: Attempt;
    readonly attempts: readonly Attempt[];
    /** What the publisher signed; nothing where no check was asked for. */
    readonly record: Verified | undefined;
}
/** Why a request came to nothing at any server. */
export declare class Failed extends Error {
    readonly attempts: readonly Attempt[];
    readonly name = "Failed";
    constructor(attempts: readonly Attempt[]);
}
export declare class Fetcher {
    #private;
    readonly pathways: Pathways;
    private readonly verifier;
    constructor(pathways: Pathways, verifier: Verifier | undefined);
    get(want: Want): Promise<Got>;
}
