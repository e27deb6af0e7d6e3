// Fetches one resource from the first server that sends it whole, in time and, where that is asked for, as its publisher
// signed it.
//
// Invariant: at most two servers are asked at once and each at most once for a request; what loses is aborted; every wait
// ends. A body that was not checked never comes out where a check was asked for.
import { equal } from "./bytes.js";
import { Pathways } from "./pathways.js";
import { Forged } from "./verifier.js";
/** Why a request came to nothing at any server. */
export class Failed extends Error {
    attempts;
    name = "Failed";
    constructor(attempts) {
        super(attempts.map(({ url, detail, reason }) => `${new URL(url).host}: ${detail ?? reason}`).join("; "));
        this.attempts = attempts;
    }
}
/** A server that has sent nothing for so long gets a second one beside it. */
const HEDGE_MS = 800;
/** How often the pace of a body is looked at, and when first. */
const PACE_MS = 200;
const PACE_AFTER_MS = 600;
/** Statuses that say something of the request and nothing against the server. */
const BLAMELESS = new Set([401, 403, 410, 416, 451]);
/** Largest body. */
const MAX_BODY = 256 * 1024 * 1024;
export class Fetcher {
    pathways;
    verifier;
    /** URLs that once held forged bytes, which the browser may have cached. */
    #tainted = new Set();
    constructor(pathways, verifier) {
        this.pathways = pathways;
        this.verifier = verifier;
    }
    get(want) {
        const urls = this.pathways.candidates(want.url);
        const attempts = [];
        const running = new Map();
        return new Promise((resolve, reject) => {
            let isOver = false;
            const end = () => {
                isOver = true;
                clearInterval(pacing);
                want.signal.removeEventListener("abort", aborted);
                for (const controller of running.values())
                    controller.abort();
            };
            const aborted = () => {
                // Whoever gives up because it is too slow should not meet the same server again.
                for (const attempt of running.keys())
                    if (isLate(attempt, want))
                        this.#blame(attempt, "slow");
                end();
                reject(new DOMException("aborted", "AbortError"));
            };
            const begin = () => {
                const url = urls[attempts.length];
                if (isOver || url === undefined)
                    return;
                const attempt = { url, startedAt: performance.now(), firstByteAt: 0, endedAt: 0, loaded: 0 };
                const controller = new AbortController();
                attempts.push(attempt);
                running.set(attempt, controller);
                this.#try(want, attempt, controller).then((got) => {
                    running.delete(attempt);
                    if (isOver)
                        return;
                    for (const other of running.keys())
                        if (isLate(other, want))
                            this.#blame(other, "slow");
                    end();
                    resolve({ ...got, attempts });
                }, (error) => {
                    running.delete(attempt);
                    if (isOver)
                        return;
                    attempt.endedAt ||= performance.now();
                    attempt.detail ??= error instanceof Error ? error.message : String(error);
                    if (!(attempt.status && BLAMELESS.has(attempt.status)))
                        this.#blame(attempt, attempt.reason ?? "refused");
                    begin();
                    if (running.size === 0) {
                        end();
                        reject(new Failed(attempts));
                    }
                });
            };
            const pacing = setInterval(() => {
                const [only] = running.keys();
                if (want.budgetMs !== undefined && running.size === 1 && isLate(only, want))
                    begin();
            }, PACE_MS);
            if (want.signal.aborted)
                return aborted();
            want.signal.addEventListener("abort", aborted);
            begin();
        });
    }
    #blame(attempt, reason) {
        attempt.reason = reason;
        this.pathways.failed(attempt.url, reason);
    }
    async #try(want, attempt, controller) {
        const { url } = attempt;
        const limit = (ms, what) => setTimeout(() => {
            attempt.reason = "timeout";
            attempt.detail = `${what} after ${ms / 1000} s`;
            controller.abort();
        }, ms);
        const total = limit(want.totalMs, "not whole");
        const first = limit(want.firstByteMs, "no byte");
        try {
            const headers = { ...want.headers };
            if (want.range)
                headers["Range"] = `bytes=${want.range.start}-${want.range.end - 1}`;
            const answer = await fetch(url, {
                headers, signal: controller.signal, credentials: "omit", cache: this.#tainted.has(url) ? "reload" : "default",
            });
            attempt.status = answer.status;
            if (!answer.ok) {
                attempt.reason = "status";
                throw new Error(`status ${answer.status}`);
            }
            if (want.range && answer.status !== 206)
                throw new Error("the server does not answer ranges");
            const data = await read(answer, attempt, () => clearTimeout(first), want.onProgress);
            attempt.endedAt = performance.now();
            const record = want.verify ? await this.#verified(want, url, answer, data, attempt) : undefined;
            this.pathways.succeeded(url, attempt.firstByteAt - attempt.startedAt);
            return { url, status: answer.status, headers: answer.headers, data, attempt, record };
        }
        finally {
            clearTimeout(total);
            clearTimeout(first);
        }
    }
    async #verified({ digest }, url, answer, data, attempt) {
        if (!this.verifier)
            throw new Error("nobody can check it");
        try {
            if (digest) {
                const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
                if (!equal(sha256, digest))
                    throw new Forged("the bytes are not those that the publisher signed");
                return { target: new URL(url).pathname, status: answer.status, length: data.byteLength, sha256, signedAt: 0 };
            }
            return await this.verifier.check(url, answer.headers, data);
        }
        catch (error) {
            if (error instanceof Forged) {
                attempt.reason = "forged";
                this.#tainted.add(url);
            }
            throw error;
        }
    }
}
/** Whether a second server should be asked: no byte for too long, or a pace at which the body comes too late. */
function isLate({ startedAt, firstByteAt, loaded, ...attempt }, want) {
    const elapsed = performance.now() - startedAt;
    if (want.budgetMs === undefined)
        return false;
    if (firstByteAt === 0)
        return elapsed > HEDGE_MS;
    if (elapsed < PACE_AFTER_MS)
        return false;
    const left = attempt.total ? (attempt.total - loaded) * ((performance.now() - firstByteAt) / Math.max(1, loaded)) : 0;
    return elapsed + left > want.budgetMs;
}
async function read(answer, attempt, onFirst, onProgress) {
    const total = Number(answer.headers.get("content-length") ?? 0);
    // With a content coding the length is of what was sent, not of what arrives here.
    attempt.total = answer.headers.has("content-encoding") ? 0 : total;
    const pieces = [];
    const reader = answer.body?.getReader();
    for (;;) {
        const piece = await reader?.read();
        if (attempt.firstByteAt === 0) {
            attempt.firstByteAt = performance.now();
            onFirst();
        }
        if (!piece || piece.done)
            break;
        attempt.loaded += piece.value.length;
        if (attempt.loaded > MAX_BODY)
            throw new Error("the body is too large");
        pieces.push(piece.value);
        onProgress?.(attempt.loaded, attempt.total || attempt.loaded);
    }
    const all = new Uint8Array(attempt.loaded);
    let at = 0;
    for (const piece of pieces) {
        all.set(piece, at);
        at += piece.length;
    }
    return all.buffer;
}
