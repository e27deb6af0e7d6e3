// The servers that the same paths are to be had from, and which of them to ask first.
//
// Invariant: a server that failed is left alone for a while that doubles each time and is bounded, and is asked before
// giving up when no other is left. The order never depends on what a server says of itself.
/** How long a server is left alone after its first failure, and at most, in milliseconds. */
const PENALTY_MS = { refused: 5_000, timeout: 10_000, slow: 20_000, status: 5_000, forged: 60_000, asked: 60_000 };
const MAX_PENALTY_MS = 300_000;
/** Weight of a new measurement. */
const SMOOTHING = 0.3;
/** Servers learnt from playlists, beside those that were given. */
const MAX_PATHWAYS = 32;
export class Pathways {
    now;
    #all;
    #health = new Map();
    #preferred;
    constructor(given, now = () => performance.now()) {
        this.now = now;
        this.#all = given.map((pathway) => ({ ...pathway, origin: new URL(pathway.origin).origin }));
    }
    get all() {
        return this.#all;
    }
    /** Learns of a server that a playlist names. */
    learn(url, name) {
        const { origin } = new URL(url);
        if (this.#all.length >= MAX_PATHWAYS || this.#all.some((pathway) => pathway.origin === origin))
            return;
        this.#all.push({ name, origin });
    }
    find(url) {
        const { origin } = new URL(url);
        return this.#all.find((pathway) => pathway.origin === origin);
    }
    /** Asks this server first from now on; nothing: the one that a playlist names. */
    prefer(origin) {
        this.#preferred = origin && new URL(origin).origin;
        if (this.#preferred)
            this.#health.delete(this.#preferred);
    }
    get preferred() {
        return this.#preferred;
    }
    /** URLs of the same resource in the order in which they should be tried. What is on no known server has one alone. */
    candidates(url) {
        const { origin, pathname, search } = new URL(url);
        if (!this.#all.some((pathway) => pathway.origin === origin))
            return [url];
        const first = this.#preferred ?? origin;
        const rank = ({ origin: one }, at) => {
            const { until, firstByteMs } = this.#of(one);
            const left = Math.max(0, until - this.now());
            return [left, one === first ? 0 : 1, left > 0 ? 0 : firstByteMs ?? 0, at];
        };
        const ranked = this.#all.map((pathway, at) => ({ pathway, rank: rank(pathway, at) }));
        ranked.sort((one, other) => one.rank.map((value, at) => value - other.rank[at]).find((difference) => difference !== 0) ?? 0);
        return ranked.map(({ pathway }) => pathway.origin + pathname + search);
    }
    succeeded(url, firstByteMs) {
        const health = this.#of(new URL(url).origin);
        const before = health.firstByteMs ?? firstByteMs;
        const smoothed = before + SMOOTHING * (firstByteMs - before);
        this.#set(url, { failures: 0, until: 0, reason: undefined, firstByteMs: smoothed });
    }
    failed(url, reason) {
        const health = this.#of(new URL(url).origin);
        const penalty = Math.min(MAX_PENALTY_MS, PENALTY_MS[reason] * 2 ** health.failures);
        this.#set(url, { ...health, failures: health.failures + 1, until: this.now() + penalty, reason });
    }
    /** Whether a server is being left alone, and why. */
    state(origin) {
        const { until, reason, firstByteMs } = this.#of(origin);
        const avoided = until > this.now();
        return { avoided, reason: avoided ? reason : undefined, firstByteMs };
    }
    /** Forgets what is held against a server, for instance when somebody has mended it. */
    forgive(origin) {
        this.#health.delete(new URL(origin).origin);
    }
    #of(origin) {
        return this.#health.get(origin) ?? { failures: 0, until: 0, reason: undefined, firstByteMs: undefined };
    }
    #set(url, health) {
        const { origin } = new URL(url);
        if (this.#all.some((pathway) => pathway.origin === origin))
            this.#health.set(origin, health);
    }
}
