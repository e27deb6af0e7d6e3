// hls.js: `new Hls(withWeir({ publisher: "pub-…" }))`.
//
// Invariant: hls.js gets a fragment only when the session has it, so nothing that was not checked is ever appended.
import { Failed } from "./fetcher.js";
import { FIRST_BYTE_MS, MEDIA_MS, PLAYLIST_MS, Session } from "./session.js";
const NO_RETRY = { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 };
const policy = (maxLoadTimeMs, maxTimeToFirstByteMs = FIRST_BYTE_MS) => ({
    default: { maxTimeToFirstByteMs, maxLoadTimeMs, timeoutRetry: NO_RETRY, errorRetry: NO_RETRY },
});
/** A blocking playlist request may take as long as the playlist's part or target duration; the session knows them apart. */
const BLOCKING_MS = 20_000;
/** Options for hls.js; `own` are yours and win. The session is in them, for whoever wants to look at it. */
export function withWeir(options, own = {}) {
    const session = options instanceof Session ? options : new Session(options);
    return {
        weir: session,
        manifestLoadPolicy: policy(PLAYLIST_MS),
        playlistLoadPolicy: policy(BLOCKING_MS, BLOCKING_MS),
        fragLoadPolicy: policy(MEDIA_MS),
        fLoader: class extends WeirLoader {
            constructor() {
                super((context, limits, signal, onProgress) => {
                    const { frag, part, url, headers, rangeStart = 0, rangeEnd } = context;
                    const seconds = frag.sn === "initSegment" ? 2 : part?.duration ?? frag.duration;
                    const range = rangeEnd ? { start: rangeStart, end: rangeEnd } : undefined;
                    return session.media({ url, range, headers, budgetMs: Math.max(1000, 700 * seconds), ...limits, signal, onProgress }, context);
                });
            }
        },
        pLoader: class extends WeirLoader {
            constructor() {
                super(({ url, headers }, limits, signal) => {
                    const blocks = new URL(url).searchParams.has("_HLS_msn");
                    return session.playlist(url, blocks ? limits : { firstByteMs: FIRST_BYTE_MS, totalMs: PLAYLIST_MS }, signal, headers);
                });
            }
        },
        ...own,
    };
}
const stats = () => ({
    aborted: false, loaded: 0, retry: 0, total: 0, chunkCount: 0, bwEstimate: 0,
    loading: { start: 0, first: 0, end: 0 }, parsing: { start: 0, end: 0 }, buffering: { start: 0, first: 0, end: 0 },
});
class WeirLoader {
    ask;
    context = null;
    stats = stats();
    #callbacks = null;
    #controller = new AbortController();
    #headers;
    constructor(ask) {
        this.ask = ask;
    }
    load(context, { loadPolicy }, callbacks) {
        this.context = context;
        this.#callbacks = callbacks;
        this.stats.loading.start = performance.now();
        const limits = { firstByteMs: loadPolicy.maxTimeToFirstByteMs, totalMs: loadPolicy.maxLoadTimeMs };
        const onProgress = (loaded, total) => {
            this.stats.loading.first ||= performance.now();
            this.stats.loaded = loaded;
            this.stats.total = total;
        };
        this.ask(context, limits, this.#controller.signal, onProgress).then((got) => this.#done(got), (error) => this.#failed(error));
    }
    #done(got) {
        const callbacks = this.#take();
        if (!callbacks || !this.context)
            return;
        const { attempt, data, url, status, headers } = got;
        // The server that served is what the player's estimate should be of, not the one that was left.
        Object.assign(this.stats.loading, { start: attempt.startedAt, first: attempt.firstByteAt, end: attempt.endedAt });
        this.stats.loaded = this.stats.total = data.byteLength;
        this.#headers = headers;
        const shown = this.context.responseType === "arraybuffer" ? data : new TextDecoder().decode(data);
        callbacks.onSuccess({ url, data: shown, code: status }, this.stats, this.context, details(got));
    }
    #failed(error) {
        const callbacks = this.#take();
        if (!callbacks || !this.context)
            return;
        const last = error instanceof Failed ? error.attempts.at(-1) : undefined;
        if (last?.reason === "timeout") {
            callbacks.onTimeout(this.stats, this.context, null);
        }
        else {
            const text = error instanceof Error ? error.message : String(error);
            callbacks.onError({ code: last?.status ?? 0, text }, this.context, null, this.stats);
        }
    }
    #take() {
        const callbacks = this.#callbacks;
        this.#callbacks = null;
        return callbacks;
    }
    abort() {
        const callbacks = this.#take();
        if (!callbacks)
            return;
        this.stats.aborted = true;
        this.#controller.abort();
        if (this.context)
            callbacks.onAbort?.(this.stats, this.context, null);
    }
    destroy() {
        this.#take();
        this.stats.aborted = true;
        this.#controller.abort();
        this.context = null;
    }
    getCacheAge() {
        const age = this.#headers?.get("age");
        return age ? Number.parseFloat(age) : null;
    }
    getResponseHeader(name) {
        return this.#headers?.get(name) ?? null;
    }
}
/** What plugins of hls.js look for in an XMLHttpRequest or a Response. */
function details({ url, status, headers }) {
    const seen = {
        responseURL: url, url, status, headers,
        getResponseHeader: (name) => headers.get(name),
        getAllResponseHeaders: () => [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join(""),
    };
    return seen;
}
