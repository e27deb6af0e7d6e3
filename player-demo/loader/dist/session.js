// One playback: where it may come from, who must have signed it, what is owed for it. The players' adapters (hls.ts,
// shaka.ts) ask for bytes here and nowhere else.
//
// Invariant: media bytes leave only after they were checked, unless checking was switched off or nothing signed exists.
import { Fetcher, Failed } from "./fetcher.js";
import { Pathways } from "./pathways.js";
import { Receipts } from "./receipts.js";
import { Forged, Verifier } from "./verifier.js";
/** The fail-over options that were measured: a hang is left within this, and the same URL is not tried again. */
export const FIRST_BYTE_MS = 2500;
export const PLAYLIST_MS = 4000;
export const MEDIA_MS = 20_000;
/** Whole objects that are kept because players ask for parts of them, and their sum. */
const KEPT_WHOLES = 4;
const KEPT_BYTES = 128 * 1024 * 1024;
export class Session {
    options;
    pathways;
    verifier;
    #fetcher;
    #receipts;
    #wholes = new Map();
    #verifies;
    #first;
    constructor(options) {
        this.options = options;
        this.pathways = new Pathways(options.pathways ?? []);
        const origins = () => [
            ...(options.keySources ?? []), ...this.pathways.all.map(({ origin }) => origin), ...(this.#first ? [this.#first] : []),
        ];
        this.verifier = new Verifier({ publisher: options.publisher, keySources: () => [...new Set(origins())] });
        this.#fetcher = new Fetcher(this.pathways, this.verifier);
        this.#receipts = options.receipts && new Receipts(options.receipts, (relay, outcome) => options.onReceipt?.(relay, outcome));
    }
    /** Whether media is checked. */
    verifies() {
        const { verify = "require" } = this.options;
        this.#verifies ??= verify === "auto" ? this.verifier.isPossible() : Promise.resolve(verify === "require");
        return this.#verifies;
    }
    /** A playlist: from wherever it is to be had. Its text is not checked, since relays may rewrite it; what it lists is. */
    async playlist(url, limits, signal, headers) {
        this.#first ??= new URL(url).origin;
        // A blocking request (LL-HLS) is answered when there is something new: a second one beside it is answered no sooner.
        const blocks = new URL(url).searchParams.has("_HLS_msn");
        const got = await this.#fetcher.get({ url, verify: false, ...limits, budgetMs: blocks ? undefined : 1500, signal, headers });
        this.#learn(got);
        return got;
    }
    /** A segment, part or initialisation section, or a range of one. `earlier` is what was tried before, by the player itself. */
    async media(want, tag, earlier = []) {
        try {
            const verify = await this.verifies();
            const got = verify && want.range ? await this.#slice(want, want.range) : await this.#fetcher.get({ ...want, verify });
            await this.#account({ ...got, attempts: [...earlier, ...got.attempts] }, tag);
            return got;
        }
        catch (error) {
            if (error instanceof Failed) {
                const attempts = [...earlier, ...error.attempts];
                this.options.onMedia?.({ url: want.url, pathway: undefined, bytes: 0, headers: undefined, verified: false, attempts, tag });
            }
            throw error;
        }
    }
    /** Checks a whole body that the player fetched itself; what is wrong with it comes back as an attempt that failed. */
    async received(url, status, headers, data, tag) {
        const at = performance.now();
        const attempt = { url, startedAt: at, firstByteAt: at, endedAt: at, loaded: data.byteLength, status };
        try {
            const record = await this.verifier.check(url, headers, data);
            await this.#account({ url, status, headers, data, attempt, attempts: [attempt], record }, tag);
            return undefined;
        }
        catch (error) {
            attempt.reason = error instanceof Forged ? "forged" : "refused";
            attempt.detail = error instanceof Error ? error.message : String(error);
            this.pathways.failed(url, attempt.reason);
            return attempt;
        }
    }
    async #account(got, tag) {
        const { url, headers, attempts, record } = got;
        const pathway = this.pathways.find(url);
        const bytes = got.data.byteLength;
        this.options.onMedia?.({ url, pathway, bytes, headers, verified: record !== undefined, attempts, tag });
        const publisher = this.verifier.publisher;
        if (!this.#receipts || !record || !publisher)
            return;
        const { origin } = new URL(url);
        const said = await this.verifier.server(origin);
        const relay = pathway?.relay ?? said?.relay;
        if (relay)
            this.#receipts.add(publisher, relay, origin, bytes, said?.epochMs);
    }
    /**
     * A record's digest is over the whole. Where the publisher signed one for this range, that is what counts; where not, the
     * whole is fetched once, checked, and cut here.
     */
    async #slice(want, range) {
        const { pathname, search } = new URL(want.url);
        const name = pathname + search;
        const digest = this.#wholes.has(name) ? undefined : await this.verifier.rangeDigest(this.pathways.candidates(want.url), range);
        if (digest)
            return this.#fetcher.get({ ...want, range, verify: true, digest });
        let whole = this.#wholes.get(name);
        if (!whole) {
            // Others may wait for it when this request is given up, so it does not end with it.
            const signal = AbortSignal.timeout(want.totalMs * 4);
            whole = this.#fetcher.get({ ...want, range: undefined, verify: true, budgetMs: undefined, totalMs: want.totalMs * 4, signal, onProgress: undefined });
            this.#wholes.set(name, whole);
            whole.then((got) => this.#keep(name, got), () => this.#wholes.delete(name));
        }
        const got = await whole;
        if (range.end > got.data.byteLength)
            throw new Error("the range lies beyond the end");
        return { ...got, data: got.data.slice(range.start, range.end) };
    }
    #keep(name, got) {
        if (got.data.byteLength > KEPT_BYTES / KEPT_WHOLES)
            this.#wholes.delete(name);
        const [oldest] = this.#wholes.keys();
        if (this.#wholes.size > KEPT_WHOLES && oldest)
            this.#wholes.delete(oldest);
    }
    /** Servers that a multivariant playlist names for one and the same path are pathways of the same content. */
    #learn(got) {
        const text = new TextDecoder().decode(got.data);
        if (!text.includes("#EXT-X-STREAM-INF"))
            return;
        const places = new Map();
        let name = "";
        for (const line of text.split(/\r?\n/)) {
            if (line.startsWith("#EXT-X-STREAM-INF"))
                name = /[:,]PATHWAY-ID="([^"]*)"/.exec(line)?.[1] ?? "";
            if (line === "" || line.startsWith("#"))
                continue;
            const { origin, pathname } = new URL(line, got.url);
            places.set(pathname, (places.get(pathname) ?? new Map()).set(origin, name));
        }
        for (const origins of places.values()) {
            if (origins.size > 1)
                for (const [origin, id] of origins)
                    this.pathways.learn(origin, id || new URL(origin).host);
        }
    }
    /** Sends the last receipt. */
    end() {
        this.#receipts?.end();
    }
}
