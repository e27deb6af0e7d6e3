// The player: hls.js with the verifying loader, and what to do when nothing answers at all.
//
// Invariant: starting anew is bounded. After ROUNDS fatal errors without a segment in between the player stops and says
// so; a single server's failure never gets here, for the loader has gone elsewhere.

import Hls, { type ErrorData } from "hls.js";
import { withWeir, type Session } from "../loader/src/index.js";

const ROUNDS = 5;
const ROUND_PAUSE_MS = 1500;
/** How often a decoder error is mended in place before the stream counts as unplayable. */
const RECOVERIES = 3;
/** Errors kept for those who look at window.weir. */
const KEPT_ERRORS = 200;

export const isSupported = (): boolean => Hls.isSupported();

const OPTIONS = {
  // Fragmented MP4 passes through almost untouched; without a worker the page needs no blob: scripts.
  enableWorker: false,
  // Three segments behind the live edge, the distance the standard asks for (RFC 8216 section 6.3.3).
  liveSyncDurationCount: 3,
  lowLatencyMode: true,
  // Whoever fell behind because a relay failed catches up unnoticed.
  maxLiveSyncPlaybackRate: 1.1,
  // Enough to outlive a change of relay; more would only hide what the relays do.
  maxBufferLength: 12,
  // By default hls.js fills 60 MB, which here is the whole film at once.
  maxBufferSize: 0,
  backBufferLength: 30,
  // Begin with the best picture on loopback; the estimate corrects itself after the first segment.
  abrEwmaDefaultEstimate: 4_000_000,
};

export interface PlayerEvents {
  readonly started: () => void;
  readonly trying: (round: number) => void;
  readonly failed: (details: string) => void;
}

export class Player {
  readonly errors: { at: Date; type: string; details: string; fatal: boolean; code?: number | undefined }[] = [];
  hls: Hls | undefined;
  #session: Session | undefined;
  #rounds = 0;
  #recoveries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #url = "";

  constructor(readonly video: HTMLVideoElement, private readonly events: PlayerEvents) {}

  play(url: string, session: Session): void {
    this.#session?.end();
    this.#session = session;
    this.#url = url;
    this.#rounds = 0;
    this.#recoveries = 0;
    this.#load(-1);
  }

  /** A segment has arrived: what went wrong before counts no longer. */
  flows(): void {
    this.#rounds = 0;
  }

  get isLive(): boolean {
    return this.hls?.latestLevelDetails?.live ?? false;
  }

  /** Seconds behind the live edge; nothing where there is none. */
  get latency(): number | undefined {
    if (!this.isLive) return undefined;
    const date = this.hls?.playingDate;
    return date ? (Date.now() - date.getTime()) / 1000 : this.hls?.latency || undefined;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.hls?.destroy();
    this.#session?.end();
  }

  #load(position: number): void {
    clearTimeout(this.#timer);
    this.hls?.destroy();
    const hls = new Hls(withWeir(this.#session!, { ...OPTIONS, startPosition: position }));
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_, data) => this.#failed(data));
    hls.loadSource(this.#url);
    hls.attachMedia(this.video);
    this.events.started();
  }

  #failed({ type, details, fatal, response }: ErrorData): void {
    this.errors.push({ at: new Date(), type, details, fatal, code: response?.code });
    if (this.errors.length > KEPT_ERRORS) this.errors.shift();
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && this.#recoveries < RECOVERIES) {
      this.#recoveries += 1;
      this.hls?.recoverMediaError();
      return;
    }
    this.#rounds += 1;
    if (this.#rounds > ROUNDS || type === Hls.ErrorTypes.MEDIA_ERROR) {
      this.hls?.destroy();
      this.events.failed(details);
      return;
    }
    const wasPlaying = !this.video.paused;
    const position = this.isLive ? -1 : this.video.currentTime || -1;
    this.hls?.stopLoad();
    this.events.trying(this.#rounds);
    this.#timer = setTimeout(() => {
      this.#load(position);
      if (wasPlaying) this.video.play().catch(() => {});
    }, ROUND_PAUSE_MS);
  }
}

/** Watches whether the picture moves when it should, independently of what hls.js says of itself. */
export class Playhead {
  stalls = 0;
  longestMs = 0;
  totalMs = 0;
  #begun = false;
  #position = 0;
  #movedAt = performance.now();
  #isStill = false;

  /** A picture that has not moved for so long while it should has stalled. */
  static readonly STILL_MS = 100;
  static readonly LOOK_MS = 50;

  constructor(readonly video: HTMLVideoElement) {
    setInterval(() => this.#look(), Playhead.LOOK_MS);
    for (const event of ["seeking", "emptied", "pause"]) video.addEventListener(event, () => this.#excuse());
  }

  /** A new programme: what was before does not count. */
  reset(): void {
    [this.stalls, this.longestMs, this.totalMs, this.#begun] = [0, 0, 0, false];
  }

  #excuse(): void {
    this.#isStill = false;
    this.#movedAt = performance.now();
  }

  #look(): void {
    const now = performance.now();
    const { currentTime, paused, ended, seeking } = this.video;
    const moved = currentTime !== this.#position;
    this.#position = currentTime;
    if (paused || ended || seeking) return this.#excuse();
    if (moved) {
      this.#begun = true;
      return this.#excuse();
    }
    const still = now - this.#movedAt;
    if (!this.#begun || still < Playhead.STILL_MS) return;
    if (!this.#isStill) this.stalls += 1;
    this.totalMs += this.#isStill ? Playhead.LOOK_MS : still;
    this.#isStill = true;
    this.longestMs = Math.max(this.longestMs, still);
  }
}
