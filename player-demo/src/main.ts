// The page: what to play from where, and what happened.
//
// Query parameters: src=URL plays that URL; publisher=pub-… says whose content it must be; content=live|low_latency|film
// and relay=NAME choose among the demo's; autoplay=1 starts at once, muted; h3=1 plays through the relays' encrypted
// doors, for a browser that was started so that it trusts the demo's certificate; verify=off checks nothing. For tests,
// window.weir shows what the page knows.

import "./style.css";
import { Session, sessionKey, type MediaReport, type Pathway, type Reason, type ReceiptOptions } from "../loader/src/index.js";
import { control, describe, sessionToken, type Act, type DemoRelay, type Description } from "./demo.js";
import { Measurements, protocolName, type Segment } from "./measure.js";
import { isSupported, Player, Playhead } from "./player.js";
import { setUpTheme } from "./theme.js";
import * as chart from "./view/chart.js";
import { byId, element, milliseconds, relayName } from "./view/dom.js";
import { drawBuffer, drawTiles, showStatus, tell, type Tile } from "./view/now.js";
import { drawRelays, drawShare, type Card } from "./view/relays.js";
import { clearSegments, showSegment } from "./view/segments.js";

type Content = "live" | "low_latency" | "film";

const TITLES: Record<Content | "own", string> = {
  live: "the live channel", low_latency: "the low-latency channel", film: "the film", own: "your stream",
};
const CHOICES: [Content, string][] = [["live", "Live"], ["low_latency", "Low latency"], ["film", "Film"]];
/** The relay that a programme begins with, so that one has the other programme from another. */
const FIRST_RELAY: Record<Content, string> = { film: "a", live: "b", low_latency: "c" };
/** How often the figures are redrawn, the demo is asked, and idle relays are; how many segments a median looks at. */
const REDRAW_MS = 250;
const CHART_MS = 1000;
const ASK_MS = 1000;
const PING_MS = 3000;
const MEDIAN_OF = 20;
/** Answers that the demo may fail to give before the page says so. */
const PATIENCE = 3;

const query = new URLSearchParams(location.search);
const video = byId<HTMLVideoElement>("video");
const playhead = new Playhead(video);

const state = {
  demo: undefined as Description | undefined,
  content: "own" as Content | "own",
  session: new Session({ verify: "off" }),
  /** Relay names by origin. */
  roundTrips: new Map<string, number>(),
  forged: 0,
  checked: 0,
  unchecked: 0,
  receipts: 0,
  receiptsMade: false,
  silent: 0,
};

const measurements = new Measurements((segment) => {
  showSegment(segment);
  drawStatus();
});

const player = new Player(video, {
  started: () => { byId("source").textContent = withoutToken(player.hls?.url); },
  trying: (round) => showStatus("change", `No server has the next segment. Trying again (${round}).`),
  failed: (details) => showStatus("fail", state.demo
    ? "No relay answers. Restart one, or choose a programme to try again."
    : `The stream does not play (${details}). Check the address and whether its server lets other sites read it.`),
});

Object.assign(window, {
  weir: {
    get segments() { return measurements.segments; },
    get errors() { return player.errors; },
    get hls() { return player.hls; },
    get session() { return state.session; },
    get forged() { return state.forged; },
    get receipts() { return state.receipts; },
    playhead,
  },
});

/** The origin that a relay of the demo is asked at. Any browser plays through the plain door; the encrypted one only where
 *  the address asks for it. */
const originOf = (relay: DemoRelay): string => (state.demo?.h3 && query.get("h3") === "1" ? relay.https : relay.http);

const nameOf = (url: string): string => state.session.pathways.find(url)?.name ?? new URL(url).host;

const WORDS: Record<Reason, string> = {
  refused: "did not answer", timeout: "sent nothing in time", slow: "was too slow", status: "had no such segment", forged: "sent forged bytes", asked: "was left",
};

/** A request for media has ended, well or badly. */
function reported(report: MediaReport): void {
  const { frag } = report.tag as { frag: { sn: number | "initSegment"; level: number } };
  const what = frag.sn === "initSegment" ? "the initialisation section" : `segment ${frag.sn}`;
  for (const { url, reason, detail } of report.attempts) {
    if (!reason) continue;
    if (reason === "forged") state.forged += 1;
    const then = report.pathway && report.url !== url ? [" Relay ", relayName(report.pathway.name), ` had ${what}.`] : [];
    const why = reason === "forged" ? ` for ${what}. They were refused: ${detail}.` : ` (${what}).`;
    tell(reason === "forged" ? "bad" : "warn", relayName(nameOf(url)), ` ${WORDS[reason]}${why}`, ...then);
  }
  if (!report.headers) return;
  if (report.verified) state.checked += 1;
  else state.unchecked += 1;
  player.flows();
  if (frag.sn === "initSegment") return;
  const level = player.hls?.levels[frag.level];
  measurements.add(report, nameOf(report.url), level?.height ? `${level.height}p` : `level ${frag.level}`, frag.sn, state.receiptsMade);
}

function pathways(): Pathway[] {
  const demo = state.demo;
  if (demo) return demo.relays.map((relay) => ({ name: relay.name, origin: originOf(relay), relay: relay.peer }));
  const src = query.get("src");
  if (!src) return [];
  const { origin, host } = new URL(src, location.href);
  return [{ name: host, origin }];
}

/** Receipts can be signed where the demo gives out tokens and the browser can keep a key. */
async function receipts(): Promise<ReceiptOptions | undefined> {
  if (!state.demo?.session) return undefined;
  try {
    const key = await sessionKey();
    const given = await sessionToken(state.demo, key.jwk);
    return given && { token: given.token, key, epochMs: given.epochMs };
  } catch {
    return undefined;
  }
}

let starts = 0;

async function start(url: string, preferred: string | undefined): Promise<void> {
  const mine = ++starts;
  const wasPlaying = !video.paused;
  const signs = await receipts();
  if (mine !== starts) return;
  const publisher = state.demo?.publisher ?? query.get("publisher") ?? undefined;
  const asked = query.get("verify");
  const session = new Session({
    pathways: pathways(), verify: asked === "off" ? "off" : state.demo || publisher ? "require" : "auto",
    onMedia: reported,
    onReceipt: (relay, outcome) => {
      if (outcome === "absent") return;
      if (outcome === "accepted") state.receipts += 1;
      const known = session.pathways.all.find((pathway) => pathway.relay === relay);
      if (known) measurements.receipt(known.name, outcome);
    },
    ...(publisher ? { publisher } : {}),
    ...(state.demo ? { keySources: [state.demo.adapter.http] } : {}),
    ...(signs ? { receipts: signs } : {}),
  });
  state.receiptsMade = signs !== undefined;
  state.session = session;
  const first = session.pathways.all.find(({ name }) => name === preferred);
  session.pathways.prefer(first?.origin);
  playhead.reset();
  const path = new URL(url, location.href);
  const whole = signs ? withToken(path, signs.token) : path;
  player.play(whole.href, session);
  layers();
  if (wasPlaying || query.get("autoplay") === "1") video.play().catch(() => {});
}

function withToken(url: URL, token: string): URL {
  url.searchParams.set("weir_token", token);
  return url;
}

/** What is shown of a URL: a screenshot should not give a session away. */
function withoutToken(url: string | null | undefined): string {
  if (!url) return "";
  const shown = new URL(url);
  shown.searchParams.delete("weir_token");
  return shown.href;
}

function layers(): void {
  const names = state.session.pathways.all.map(({ name }) => name);
  chart.setLayers(names, state.demo ? "relay " : "");
}

/** Plays one of the demo's programmes. */
function startContent(content: Content, relay: string): Promise<void> {
  const demo = state.demo!;
  state.content = content;
  const from = demo.relays.find(({ name }) => name === relay) ?? demo.relays[0]!;
  showStatus("wait", `Asking relay ${from.name} for ${TITLES[content]}.`);
  return start(new URL(demo[content]!, originOf(from)).href, from.name);
}

async function startOwn(src: string): Promise<void> {
  state.content = "own";
  if (!URL.canParse(src, location.href) || !/^https?:$/.test(new URL(src, location.href).protocol)) {
    query.delete("src");
    showStatus("fail", `“${src}” is no address of a stream: it should begin with https:// or http://, or with a slash.`);
    return;
  }
  showStatus("wait", "Asking for your stream.");
  await start(new URL(src, location.href).href, undefined);
}

/** The relay that serves: the one that the last segment came from. */
const serving = (): string | undefined => measurements.segments.at(-1)?.relay;

function failOver(): void {
  const all = state.session.pathways;
  const now = all.all.find(({ name }) => name === serving()) ?? all.all[0];
  if (!now || all.all.length < 2) return;
  all.failed(now.origin, "asked");
  const [next] = all.candidates(now.origin);
  all.forgive(now.origin);
  all.prefer(next);
  tell("info", "Changing from ", relayName(now.name), " to ", relayName(nameOf(next!)), ", as you asked.");
}

async function act(relay: string, what: Act): Promise<void> {
  const demo = state.demo!;
  const { condition } = demo.relays.find(({ name }) => name === relay)!;
  // A button that is pressed undoes what it did.
  const undo = (what === "slow" && condition.slow !== null) || (what === "corrupt" && condition.corrupt) || (what === "partition" && condition.partition);
  const verb: Act = what === "pause" && condition.state === "paused" ? "resume" : what;
  const more = undo ? { on: false } : {};
  try {
    await control(demo, relay, verb, more);
    const done: Record<Act, string> = {
      kill: "was killed.", restart: "runs again.", pause: "hangs.", resume: "goes on.", slow: "is slow: 20 kB a second.",
      corrupt: "corrupts what it sends.", partition: "is cut off from the other relays.", heal: "is well again.",
    };
    tell("info", relayName(relay), ` ${undo ? "is as it was." : done[verb]}`);
    if (undo || ["heal", "restart", "resume"].includes(verb)) state.session.pathways.forgive(originOf(demo.relays.find(({ name }) => name === relay)!));
  } catch (error) {
    tell("warn", relayName(relay), `: ${error instanceof Error ? error.message : String(error)}`);
  }
  await askDemo();
}

async function askDemo(): Promise<void> {
  const said = await describe();
  if (said) {
    state.demo = said;
    state.silent = 0;
  } else {
    state.silent += 1;
    if (state.silent === PATIENCE) showStatus("fail", "The demo does not answer. Is it still running? Reload the page to try again.");
  }
}

/** How long an idle relay takes to answer the smallest question. */
async function ping(): Promise<void> {
  for (const relay of state.demo?.relays ?? []) {
    if (relay.condition.state !== "running") continue;
    const origin = originOf(relay);
    const begun = performance.now();
    await fetch(`${origin}/.well-known/weir`, { cache: "no-store", signal: AbortSignal.timeout(2000) })
      .then((answer) => answer.ok && state.roundTrips.set(origin, performance.now() - begun), () => state.roundTrips.delete(origin));
  }
}

const reasons: Record<Reason, string> = {
  refused: "no answer", timeout: "silent", slow: "too slow", status: "had nothing", forged: "forged bytes", asked: "as asked",
};

function card(pathway: Pathway): Card {
  const mine = measurements.segments.filter(({ relay }) => relay === pathway.name);
  const condition = state.demo?.relays.find(({ name }) => name === pathway.name)?.condition;
  const { avoided, reason, firstByteMs } = state.session.pathways.state(pathway.origin);
  return {
    name: pathway.name, bytes: mine.reduce((sum, { bytes }) => sum + bytes, 0), segments: mine.length,
    hits: mine.filter(({ source }) => source === "store").length,
    roundTripMs: state.roundTrips.get(pathway.origin) ?? firstByteMs,
    protocol: mine.at(-1)?.protocol ? protocolName(mine.at(-1)!.protocol) : "",
    serving: serving() === pathway.name && !["killed", "ended"].includes(condition?.state ?? ""), preferred: state.session.pathways.preferred === pathway.origin,
    avoided: avoided && reason ? reasons[reason] : undefined,
    condition,
  };
}

const cardEvents = {
  act: (relay: string, what: Act) => void act(relay, what),
  prefer: (relay: string) => {
    const pathway = state.session.pathways.all.find(({ name }) => name === relay);
    if (!pathway) return;
    state.session.pathways.prefer(pathway.origin);
    remember("relay", relay);
    tell("info", "Playing from ", relayName(relay), ", as you asked.");
  },
};

function drawStatus(): void {
  const last = measurements.segments.at(-1);
  if (!last || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || state.silent >= PATIENCE) return;
  const place = state.demo ? `relay ${last.relay}` : last.relay;
  const protocol = last.protocol ? ` over ${protocolName(last.protocol)}` : "";
  const checked = last.verified ? ", every segment verified" : "";
  if (video.ended) showStatus("pause", "The film has ended.");
  else if (video.paused) showStatus("pause", `Ready to play ${TITLES[state.content]} from ${place}.`);
  else showStatus("play", `Playing ${TITLES[state.content]} from ${place}${protocol}${checked}.`);
}

function bufferAhead(): number {
  for (let at = 0; at < video.buffered.length; at += 1) {
    const [from, to] = [video.buffered.start(at), video.buffered.end(at)];
    if (from <= video.currentTime + 0.1 && video.currentTime <= to) return to - video.currentTime;
  }
  return 0;
}

function median(segments: readonly Segment[]): number | undefined {
  const sorted = segments.map(({ firstByteMs }) => firstByteMs).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

function drawNow(): void {
  drawBuffer(bufferAhead());
  const { latency } = player;
  const first = median(measurements.segments.slice(-MEDIAN_OF));
  const all = state.checked + state.unchecked;
  const tiles: Record<string, Tile> = {
    time: latency === undefined
      ? { label: "Position", value: video.currentTime.toFixed(1), unit: "s" }
      : { label: "Behind live", value: latency.toFixed(1), unit: "s" },
    picture: { label: "Picture", value: video.videoHeight ? `${video.videoHeight}p` : "–" },
    first: { label: "First byte, median", value: first === undefined ? "–" : milliseconds(first), unit: first === undefined ? "" : "ms" },
    stalls: { label: "Rebuffering", value: playhead.stalls ? `${playhead.stalls} ×` : "none", unit: playhead.stalls ? `${(playhead.totalMs / 1000).toFixed(1)} s` : "" },
    checked: { label: "Verified", value: all ? `${state.checked}` : "–", unit: all ? `of ${all}` : "", tone: all > 0 && state.checked === all ? "good" : undefined },
    forged: { label: "Forged, refused", value: String(state.forged), tone: state.forged ? "bad" : undefined },
    receipts: { label: "Receipts accepted", value: state.receiptsMade ? String(state.receipts) : "–" },
  };
  drawTiles(tiles);
  drawRelays(state.session.pathways.all.map(card), cardEvents);
  let [relays, origin] = [0, 0];
  for (const { source, bytes } of measurements.segments) {
    if (source === "origin") origin += bytes;
    else if (source !== "unknown") relays += bytes;
  }
  drawShare(relays, origin);
  byId<HTMLButtonElement>("fail-over").disabled = state.session.pathways.all.length < 2;
}

/** Remembers a choice in the address, so that a reload and a copied link keep it. */
function remember(name: string, value: string): void {
  query.set(name, value);
  history.replaceState(null, "", `?${query}`);
}

function drawChoices(demo: Description): void {
  byId("content-options").replaceChildren(...CHOICES.filter(([content]) => demo[content]).map(([content, label]) => {
    const input = element("input", "");
    Object.assign(input, { type: "radio", name: "content", value: content, checked: content === state.content });
    return element("label", "", input, element("span", "", label));
  }));
}

function setUp(): void {
  setUpTheme(byId("theme"), byId("theme-name"), () => chart.build());
  addEventListener("resize", chart.resize);
  addEventListener("pagehide", () => state.session.end());
  byId("fail-over").addEventListener("click", failOver);
  byId("content-choice").addEventListener("change", ({ target }) => {
    const content = (target as HTMLInputElement).value as Content;
    query.delete("src");
    query.delete("relay");
    remember("content", content);
    void startContent(content, FIRST_RELAY[content]);
  });
  byId("choices").addEventListener("submit", (event) => {
    event.preventDefault();
    const src = byId<HTMLInputElement>("own-url").value.trim();
    if (!src) return;
    query.delete("content");
    query.delete("relay");
    query.set("src", src);
    // Another stream has other servers and another publisher: the page begins anew with it.
    location.search = query.toString();
  });
  for (const event of ["playing", "pause", "ended", "loadeddata"]) video.addEventListener(event, drawStatus);
  setInterval(drawNow, REDRAW_MS);
  setInterval(() => chart.drawChart(measurements.segments, performance.now()), CHART_MS);
}

async function run(): Promise<void> {
  layers();
  clearSegments();
  setUp();
  if (!isSupported()) {
    showStatus("fail", "This browser has no Media Source Extensions, which the page needs.");
    return;
  }
  if (query.get("autoplay") === "1") video.muted = video.autoplay = true;
  const demo = await describe();
  const src = query.get("src");
  if (src) {
    byId<HTMLInputElement>("own-url").value = src;
    byId("content-choice").hidden = !demo;
    if (demo) drawChoices(demo);
    await startOwn(src);
    return;
  }
  if (!demo) {
    byId("content-choice").hidden = true;
    showStatus("pause", "Enter the address of an HLS stream to play it.");
    return;
  }
  state.demo = demo;
  const asked = query.get("content") as Content | null;
  state.content = asked && demo[asked] && asked in FIRST_RELAY ? asked : "live";
  drawChoices(demo);
  setInterval(() => void askDemo(), ASK_MS);
  setInterval(() => void ping(), PING_MS);
  void ping();
  const content = state.content as Content;
  await startContent(content, query.get("relay") ?? FIRST_RELAY[content]);
}

run().catch((error: unknown) => showStatus("fail", `The page failed: ${error instanceof Error ? error.message : String(error)}.`));
