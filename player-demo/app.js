// The demo page: what to play from which relay, and what happened.
//
// Query parameters: src=URL plays that URL instead of the demo's programmes; content=live|film; relay=NAME; autoplay=1
// starts at once, muted; h3=1 plays through the relays' encrypted doors, for a browser that was started so that it trusts
// the demo's certificate. For tests, window.weir shows { segments, errors, hls, stalls, failovers }.

/* global Hls */

import { Measurements, protocolName } from "./measure.js";
import { Player } from "./player.js";
import * as view from "./view.js";

/** The demo says of itself what it runs; the built-in viewers play the same defaults. */
const DESCRIPTION = "/api/demo";
const DEFAULT_RELAY = { film: "a", live: "b" };
const TITLES = { live: "the live channel", film: "the film", own: "your stream" };
/** How often the tiles are redrawn, in milliseconds, and how many segments the median looks at. */
const REDRAW_MS = 500;
const MEDIAN_OF = 20;

const query = new URLSearchParams(location.search);
const video = document.getElementById("video");

const state = { demo: null, content: "own", relay: "" };

const measurements = new Measurements((segment) => {
  view.showSegment(segment);
  drawTotals();
  drawStatus();
});

const player = new Player(video, {
  segment(data) {
    const level = player.hls.levels[data.frag.level];
    const isInit = typeof data.frag.sn !== "number";
    const relay = relayOf(data.networkDetails?.responseURL || data.frag.url);
    if (!isInit) measurements.add(data, relay, level?.height ? `${level.height}p` : `level ${data.frag.level}`);
  },
  failover(from, next) {
    view.showStatus("change", from === next || from.relay === next.relay
      ? `Relay ${from.relay} does not answer. Trying again.`
      : `Relay ${from.relay} does not answer. Changing to relay ${next.relay}.`);
  },
  failed: () => view.showStatus("fail", state.demo
    ? "No relay answers. Is the demo still running? Choose a relay to try again."
    : "The stream does not play. Check the address and whether its server allows other sites to read it."),
  changed() {
    view.showSource(player.current.url);
    if (state.demo) {
      state.relay = player.current.relay;
      check("relay", state.relay);
    }
    drawTotals();
  },
});

window.weir = {
  get segments() { return measurements.segments; },
  get errors() { return player.errors; },
  get hls() { return player.hls; },
  get stalls() { return player.stalls; },
  get failovers() { return player.failovers; },
};

/** Base URL of a relay. Any browser plays through the plain door; the encrypted one only where the address asks for it. */
const baseOf = (relay) => (state.demo.h3 && query.get("h3") === "1" ? relay.https : relay.http);

/** The name of the relay that a URL points to. */
function relayOf(url) {
  const { origin, host } = new URL(url, location.href);
  const known = state.demo?.relays.find((relay) => [relay.http, relay.https].some((base) => base && new URL(base).origin === origin));
  return known?.name ?? host;
}

/** Plays the chosen programme from the chosen relay, with the other relays behind it. */
function start() {
  const path = state.demo[state.content];
  const names = state.demo.relays.map((relay) => relay.name);
  const first = Math.max(0, names.indexOf(state.relay));
  const order = [...state.demo.relays.slice(first), ...state.demo.relays.slice(0, first)];
  view.showStatus("wait", `Asking relay ${order[0].name} for ${TITLES[state.content]}.`);
  player.play(order.map((relay) => ({ relay: relay.name, url: new URL(path, baseOf(relay)).href })), state.content === "film");
}

/** The relay the viewer asked for, or else the programme's own. */
function wantedRelay() {
  const asked = query.get("relay");
  return state.demo.relays.some(({ name }) => name === asked) ? asked : DEFAULT_RELAY[state.content];
}

/** Remembers a choice in the address, so that a reload and a copied link keep it. */
function choose(name, value) {
  query.set(name, value);
  state.content = query.get("content") ?? state.content;
  state.relay = wantedRelay();
  history.replaceState(null, "", `?${query}`);
  const wasPlaying = !video.paused;
  start();
  if (wasPlaying) video.play().catch(() => {});
}

function check(name, value) {
  const input = document.querySelector(`input[name="${name}"][value="${CSS.escape(value)}"]`);
  if (input) input.checked = true;
}

function drawTotals() {
  const totals = new Map((state.demo?.relays ?? []).map(({ name }) => [name, { segments: 0, bytes: 0, hits: 0 }]));
  let all = 0;
  for (const { relay, bytes, cache } of measurements.segments) {
    const sum = totals.get(relay) ?? { segments: 0, bytes: 0, hits: 0 };
    totals.set(relay, { segments: sum.segments + 1, bytes: sum.bytes + bytes, hits: sum.hits + (cache.result === "hit") });
    all += bytes;
  }
  view.showTotals([...totals].map(([relay, sum]) => (
    { relay, ...sum, share: all ? sum.bytes / all : 0, chosen: relay === state.relay && totals.size > 1 })));
}

function drawStatus() {
  const last = measurements.segments.at(-1);
  if (!last || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
  const place = state.demo ? `relay ${last.relay}` : last.relay;
  const protocol = last.protocol ? ` over ${protocolName(last.protocol)}` : "";
  if (video.ended) view.showStatus("pause", "The film has ended.");
  else if (video.paused) view.showStatus("pause", `Ready to play ${TITLES[state.content]} from ${place}.`);
  else view.showStatus("play", `Playing ${TITLES[state.content]} from ${place}${protocol}.`);
}

function drawNow() {
  const isLive = player.hls?.latestLevelDetails?.live ?? state.content === "live";
  const date = player.hls?.playingDate;
  const behind = isLive ? (date ? (Date.now() - date) / 1000 : player.hls?.latency || null) : video.currentTime;
  const ahead = [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)])
    .find(([from, to]) => from <= video.currentTime + 0.1 && video.currentTime <= to);
  const recent = measurements.segments.slice(-MEDIAN_OF).map((segment) => segment.firstByteMs).sort((a, b) => a - b);
  view.showNow({
    isLive,
    behindSeconds: behind,
    bufferSeconds: ahead ? ahead[1] - video.currentTime : 0,
    level: video.videoHeight ? `${video.videoHeight}p` : "",
    firstByteMs: recent.length ? recent[Math.floor(recent.length / 2)] : null,
  });
}

async function run() {
  if (!Hls.isSupported()) {
    view.showStatus("fail", "This browser has no Media Source Extensions, which the page needs.");
    return;
  }
  for (const event of ["playing", "pause", "ended", "loadeddata"]) video.addEventListener(event, drawStatus);
  setInterval(drawNow, REDRAW_MS);
  if (query.get("autoplay") === "1") {
    video.muted = true;
    video.autoplay = true;
  }
  const own = query.get("src");
  if (own) {
    for (const id of ["content-choice", "relay-choice"]) document.getElementById(id).hidden = true;
    const url = new URL(own, location.href).href;
    view.showStatus("wait", "Asking for your stream.");
    player.play([{ relay: relayOf(url), url }], false);
    return;
  }
  const answer = await fetch(DESCRIPTION);
  if (!answer.ok) throw new Error(`${DESCRIPTION}: ${answer.status}`);
  state.demo = await answer.json();
  view.showRelayChoice(state.demo.relays);
  state.content = query.get("content") === "film" ? "film" : "live";
  state.relay = wantedRelay();
  check("content", state.content);
  document.getElementById("content-choice").addEventListener("change", ({ target }) => choose("content", target.value));
  document.getElementById("relay-choice").addEventListener("change", ({ target }) => choose("relay", target.value));
  start();
}

run().catch((error) => {
  player.errors.push({ at: new Date(), type: "page", details: String(error), fatal: true });
  view.showStatus("fail", "The demo does not answer. Is it still running? Reload the page to try again.");
});
