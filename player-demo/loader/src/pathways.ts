// The servers that the same paths are to be had from, and which of them to ask first.
//
// Invariant: a server that failed is left alone for a while that doubles each time and is bounded, and is asked before
// giving up when no other is left. The order never depends on what a server says of itself.

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

interface Health { failures: number; until: number; reason: Reason | undefined; firstByteMs: number | undefined }

/** How long a server is left alone after its first failure, and at most, in milliseconds. */
const PENALTY_MS: Record<Reason, number> = { refused: 5_000, timeout: 10_000, slow: 20_000, status: 5_000, forged: 60_000, asked: 60_000 };
const MAX_PENALTY_MS = 300_000;
/** Weight of a new measurement. */
const SMOOTHING = 0.3;
/** Servers learnt from playlists, beside those that were given. */
const MAX_PATHWAYS = 32;

export class Pathways {
  readonly #all: Pathway[];
  readonly #health = new Map<string, Health>();
  #preferred: string | undefined;

  constructor(given: readonly Pathway[], private readonly now: () => number = () => performance.now()) {
    this.#all = given.map((pathway) => ({ ...pathway, origin: new URL(pathway.origin).origin }));
  }

  get all(): readonly Pathway[] {
    return this.#all;
  }

  /** Learns of a server that a playlist names. */
  learn(url: string, name: string): void {
    const { origin } = new URL(url);
    if (this.#all.length >= MAX_PATHWAYS || this.#all.some((pathway) => pathway.origin === origin)) return;
    this.#all.push({ name, origin });
  }

  find(url: string): Pathway | undefined {
    const { origin } = new URL(url);
    return this.#all.find((pathway) => pathway.origin === origin);
  }

  /** Asks this server first from now on; nothing: the one that a playlist names. */
  prefer(origin: string | undefined): void {
    this.#preferred = origin && new URL(origin).origin;
    if (this.#preferred) this.#health.delete(this.#preferred);
  }

  get preferred(): string | undefined {
    return this.#preferred;
  }

  /** URLs of the same resource in the order in which they should be tried. What is on no known server has one alone. */
  candidates(url: string): string[] {
    const { origin, pathname, search } = new URL(url);
    if (!this.#all.some((pathway) => pathway.origin === origin)) return [url];
    const first = this.#preferred ?? origin;
    const rank = ({ origin: one }: Pathway, at: number): number[] => {
      const { until, firstByteMs } = this.#of(one);
      const left = Math.max(0, until - this.now());
      return [left, one === first ? 0 : 1, left > 0 ? 0 : firstByteMs ?? 0, at];
    };
    const ranked = this.#all.map((pathway, at) => ({ pathway, rank: rank(pathway, at) }));
    ranked.sort((one, other) => one.rank.map((value, at) => value - other.rank[at]!).find((difference) => difference !== 0) ?? 0);
    return ranked.map(({ pathway }) => pathway.origin + pathname + search);
  }

  succeeded(url: string, firstByteMs: number): void {
    const health = this.#of(new URL(url).origin);
    const before = health.firstByteMs ?? firstByteMs;
    const smoothed = before + SMOOTHING * (firstByteMs - before);
    this.#set(url, { failures: 0, until: 0, reason: undefined, firstByteMs: smoothed });
  }

  failed(url: string, reason: Reason): void {
    const health = this.#of(new URL(url).origin);
    const penalty = Math.min(MAX_PENALTY_MS, PENALTY_MS[reason] * 2 ** health.failures);
    this.#set(url, { ...health, failures: health.failures + 1, until: this.now() + penalty, reason });
  }

  /** Whether a server is being left alone, and why. */
  state(origin: string): { readonly avoided: boolean; readonly reason: Reason | undefined; readonly firstByteMs: number | undefined } {
    const { until, reason, firstByteMs } = this.#of(origin);
    const avoided = until > this.now();
    return { avoided, reason: avoided ? reason : undefined, firstByteMs };
  }

  /** Forgets what is held against a server, for instance when somebody has mended it. */
  forgive(origin: string): void {
    this.#health.delete(new URL(origin).origin);
  }

  #of(origin: string): Health {
    return this.#health.get(origin) ?? { failures: 0, until: 0, reason: undefined, firstByteMs: undefined };
  }

  #set(url: string, health: Health): void {
    const { origin } = new URL(url);
    if (this.#all.some((pathway) => pathway.origin === origin)) this.#health.set(origin, health);
  }
}
