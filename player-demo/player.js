// The player: hls.js with the options that make it leave a bad relay at once, and the way to the next relay.
//
// Invariant: fail-over is bounded. After every relay has been tried in vain ROUNDS times the player stops and says so.

/* global Hls */

/** Longest wait for the first byte. A relay answers 404 after 2.5 s without a byte from any source; waiting longer is vain. */
const FIRST_BYTE_MS = 2500;
/** Longest download of one playlist or segment: two target durations for a playlist, a whole buffer for a segment. */
const PLAYLIST_MS = 4000;
const SEGMENT_MS = 10000;
/** How often every relay is tried before the player gives up, and the pause before each round but the first. */
const ROUNDS = 5;
const ROUND_PAUSE_MS = 2000;
/** How often a decoder error is mended in place before the stream counts as unplayable. */
const RECOVERIES = 3;
/** Errors kept for those who look at window.weir. */
const KEPT_ERRORS = 200;

/** No retries of the same URL: another rendition or relay is at hand, and a buffer of 10 s outlives one look elsewhere. */
const NO_RETRY = { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 };
const policy = (maxLoadTimeMs) => ({
  default: { maxTimeToFirstByteMs: FIRST_BYTE_MS, maxLoadTimeMs, timeoutRetry: NO_RETRY, errorRetry: NO_RETRY },
});

const OPTIONS = {
  // Fragmented MP4 passes through almost untouched; without a worker the page needs no blob: scripts.
  enableWorker: false,
  manifestLoadPolicy: policy(PLAYLIST_MS),
  playlistLoadPolicy: policy(PLAYLIST_MS),
  fragLoadPolicy: policy(SEGMENT_MS),
  // Three segments behind the live edge, the distance the standard asks for (RFC 8216 section 6.3.3).
  liveSyncDurationCount: 3,
  // Enough to outlive a change of relay; more would only hide what the relays do.
  maxBufferLength: 12,
  // By default hls.js fills 60 MB, which here is the whole film at once.
  maxBufferSize: 0,
  backBufferLength: 30,
  // Begin with the best picture on loopback; the estimate corrects itself after the first segment.
  abrEwmaDefaultEstimate: 4_000_000,
};

export class Player {
  /**
   * @param {HTMLVideoElement} video
   * @param {{segment: Function, failover: Function, failed: Function, changed: Function}} events
   */
  constructor(video, events) {
    this.video = video;
    this.events = events;
    this.errors = [];
    this.stalls = 0;
    this.failures = 0;
    this.recoveries = 0;
    this.failovers = 0;
    this.hls = null;
    this.timer = 0;
  }

  /**
   * Plays from the first of `bases`; the others are for fail-over, in their order.
   * @param {{relay: string, url: string}[]} bases
   * @param {boolean} isFilm whether a position is kept over a change of relay
   */
  play(bases, isFilm) {
    this.bases = bases;
    this.isFilm = isFilm;
    this.failures = 0;
    this.recoveries = 0;
    this.#load(0, -1);
  }

  /** The base in use. */
  get current() {
    return this.bases[this.index];
  }

  #load(index, position) {
    clearTimeout(this.timer);
    this.index = index;
    this.hls?.destroy();
    const hls = new Hls({ ...OPTIONS, startPosition: position });
    this.hls = hls;
    hls.on(Hls.Events.FRAG_LOADED, (_, data) => {
      this.failures = 0;
      this.events.segment(data);
    });
    hls.on(Hls.Events.ERROR, (_, data) => this.#failed(data));
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.events.changed());
    hls.loadSource(this.current.url);
    hls.attachMedia(this.video);
    this.events.changed();
  }

  #failed(data) {
    const { type, details, fatal, response, reason } = data;
    this.errors.push({ at: new Date(), type, details, fatal, code: response?.code, reason, relay: this.current.relay });
    if (this.errors.length > KEPT_ERRORS) this.errors.shift();
    if (details === Hls.ErrorDetails.BUFFER_STALLED_ERROR) this.stalls += 1;
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR) {
      // The bytes are the same at every relay, so another one would not help.
      this.recoveries += 1;
      if (this.recoveries > RECOVERIES) this.#giveUp();
      else this.hls.recoverMediaError();
      return;
    }
    this.#next();
  }

  /** Goes to the next relay: at once within a round, after a pause when all have been tried. */
  #next() {
    const wasPlaying = !this.video.paused;
    const position = this.isFilm ? this.video.currentTime : -1;
    const from = this.current;
    this.failures += 1;
    if (this.failures >= this.bases.length * ROUNDS) {
      this.#giveUp();
      return;
    }
    this.failovers += 1;
    const next = (this.index + 1) % this.bases.length;
    const pause = this.failures % this.bases.length === 0 ? ROUND_PAUSE_MS : 0;
    this.hls.stopLoad();
    this.timer = setTimeout(() => {
      this.#load(next, position);
      if (wasPlaying) this.video.play().catch(() => {});
    }, pause);
    this.events.failover(from, this.bases[next]);
  }
  #giveUp() {
    this.hls.destroy();
    this.events.failed(this.current);
  }
}
