// Plays the demo page in headless Chromium and prints what the page itself proves, as one line of JSON.
//
//   node tests/play.mjs --page URL --content live|film [--relay NAME] [--seconds N] [--expect h3|h2|http/1.1]
//        [--quic HOST:PORT]... [--spki BASE64] [--screenshot FILE] [--full-page] [--width N] [--height N] [--dark]
//        [--survive] [--chromium PATH]
//
// Exit codes: 0 the video advanced by N seconds, segments arrived, and every one of them came over the expected protocol
// (where one is given) from the wanted relay (where one is given), without an error; 1 it did not; 2 the arguments are wrong.
// With --survive relays may die while it plays: errors and a change of relay are expected, the advance still counts.

import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

/** Time for the page to load and begin, beside the seconds to play. */
const START_MS = 15_000;
/** Slack for stalls: playing N seconds may take this many times N. */
const SLACK = 1.5;
const POLL_MS = 200;

const options = {
  page: { type: "string" },
  content: { type: "string" },
  relay: { type: "string" },
  seconds: { type: "string", default: "10" },
  expect: { type: "string" },
  quic: { type: "string", multiple: true, default: [] },
  spki: { type: "string" },
  screenshot: { type: "string" },
  "full-page": { type: "boolean", default: false },
  width: { type: "string", default: "1280" },
  height: { type: "string", default: "900" },
  dark: { type: "boolean", default: false },
  survive: { type: "boolean", default: false },
  chromium: { type: "string", default: "/usr/bin/chromium" },
};

function readArguments() {
  const { values } = parseArgs({ options });
  const numbers = { seconds: Number(values.seconds), width: Number(values.width), height: Number(values.height) };
  if (!values.page || !["live", "film"].includes(values.content) || Object.values(numbers).some((n) => !(n > 0))) {
    throw new Error("needed: --page URL --content live|film");
  }
  return { ...values, ...numbers };
}

function browserArguments({ quic, spki }) {
  const list = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--autoplay-policy=no-user-gesture-required",
  ];
  if (quic.length) list.push("--enable-quic", `--origin-to-force-quic-on=${quic.join(",")}`);
  if (spki) list.push(`--ignore-certificate-errors-spki-list=${spki}`);
  return list;
}

/** What the page shows of itself; runs inside the page. */
function read() {
  const video = document.querySelector("video");
  const { segments, errors, stalls, failovers } = window.weir ?? { segments: [], errors: [], stalls: 0, failovers: 0 };
  const resources = performance.getEntriesByType("resource");
  const unique = (list) => [...new Set(list)];
  return {
    position: video?.currentTime ?? 0,
    paused: video?.paused ?? true,
    status: document.getElementById("status-text")?.textContent,
    segments: segments.length,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    // Proved by the browser's resource timing, not by what a server says of itself.
    protocols: unique(segments.map(({ protocol }) => protocol)),
    relays: unique(segments.map(({ relay }) => relay)),
    levels: unique(segments.map(({ level }) => level)),
    cache: unique(segments.map(({ cacheStatus }) => cacheStatus)).slice(-5),
    errors: errors.map(({ type, details, fatal, code, relay }) => ({ type, details, fatal, code, relay })),
    stalls,
    failovers,
    foreign: unique(resources.map(({ name }) => new URL(name).host)),
    rows: document.querySelectorAll("#segments tr:not(.empty)").length,
    dropped: video?.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0,
  };
}

/** Adds up how far the video advanced; a jump (seek, change of relay) counts as nothing. */
async function watch(page, wanted) {
  let played = 0;
  let last = null;
  const deadline = Date.now() + START_MS + wanted * 1000 * SLACK;
  while (played < wanted && Date.now() < deadline) {
    await page.waitForTimeout(POLL_MS);
    const position = await page.evaluate(() => document.querySelector("video").currentTime);
    const step = last === null ? 0 : position - last;
    if (step > 0 && step < 2) played += step;
    last = position;
  }
  return played;
}

function verdict(args, seen) {
  const reasons = [];
  if (seen.played < args.seconds) reasons.push(`played ${seen.played} s of ${args.seconds} s`);
  if (seen.segments === 0) reasons.push("no segment arrived");
  if (seen.rows === 0) reasons.push("the table is empty");
  if (args.expect && seen.protocols.join() !== args.expect) reasons.push(`expected ${args.expect}, saw ${seen.protocols}`);
  if (args.survive) return reasons;
  if (seen.errors.some(({ fatal }) => fatal)) reasons.push("a fatal error");
  if (seen.consoleErrors.length) reasons.push("errors in the console");
  if (args.relay && seen.relays.join() !== args.relay) reasons.push(`expected relay ${args.relay}, saw ${seen.relays}`);
  return reasons;
}

async function run(args) {
  const browser = await chromium.launch({ executablePath: args.chromium, headless: true, args: browserArguments(args) });
  try {
    const page = await browser.newPage({
      viewport: { width: args.width, height: args.height },
      colorScheme: args.dark ? "dark" : "light",
    });
    const consoleErrors = [];
    page.on("console", (message) => message.type() === "error" && consoleErrors.push(message.text()));
    page.on("pageerror", (error) => consoleErrors.push(String(error)));
    const url = new URL(args.page);
    url.searchParams.set("content", args.content);
    if (args.relay) url.searchParams.set("relay", args.relay);
    url.searchParams.set("autoplay", "1");
    await page.goto(url.href, { timeout: START_MS });
    const played = Math.round((await watch(page, args.seconds)) * 10) / 10;
    // The timing of the segment that has just arrived may still be on its way to the page.
    await page.waitForFunction(() => window.weir?.segments.every(({ protocol }) => protocol), null, { timeout: 3000 })
      .catch(() => {});
    const seen = { played, ...(await page.evaluate(read)), consoleErrors };
    if (args.screenshot) await page.screenshot({ path: args.screenshot, fullPage: args["full-page"] });
    return seen;
  } finally {
    await browser.close();
  }
}

let args;
try {
  args = readArguments();
} catch (error) {
  console.error(String(error.message));
  process.exit(2);
}
try {
  const seen = await run(args);
  const reasons = verdict(args, seen);
  console.log(JSON.stringify({ ok: reasons.length === 0, reasons, ...seen }));
  process.exitCode = reasons.length === 0 ? 0 : 1;
} catch (error) {
  console.log(JSON.stringify({ ok: false, reasons: [String(error)] }));
  process.exitCode = 1;
}
