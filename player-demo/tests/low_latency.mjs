// Plays a low-latency channel with hls.js in headless Chromium and prints what was measured, as one line of JSON.
//
//   node tests/low_latency.mjs --url URL [--also URL] [--seconds N] [--chromium PATH]
//
// Exit codes: 0 the player used parts and stayed less than three seconds behind without a stall; 1 it did not. --also keeps
// another viewer at that URL, so that two relays share the channel.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

/** Time to load, begin and catch up with the live edge. */
const SETTLE_MS = 8_000;
const POLL_MS = 250;
const BOUND_SECONDS = 3;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    also: { type: "string" },
    seconds: { type: "string", default: "15" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const script = join(dirname(fileURLToPath(import.meta.url)), "../node_modules/hls.js/dist/hls.min.js");

/**
 * Starts playing; runs inside the page. hls.js stays as far behind as its start has taken, two seconds on a slow machine,
 * unless it may play a little faster until it has caught up.
 */
function play(url) {
  const video = document.querySelector("video");
  const seen = { stalls: 0, errors: [], parts: 0, blocking: 0, deltas: 0 };
  const hls = new window.Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 });
  hls.on(window.Hls.Events.ERROR, (_, { details, fatal }) => {
    if (details === "bufferStalledError") seen.stalls += 1;
    else seen.errors.push({ details, fatal });
  });
  hls.on(window.Hls.Events.FRAG_LOADED, (_, { part }) => {
    if (part) seen.parts += 1;
  });
  hls.on(window.Hls.Events.LEVEL_LOADED, (_, { networkDetails }) => {
    const asked = networkDetails?.responseURL ?? "";
    if (asked.includes("_HLS_msn=")) seen.blocking += 1;
    if (asked.includes("_HLS_skip=")) seen.deltas += 1;
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  window.measure = () => ({ ...seen, latency: hls.latency, target: hls.targetLatency, position: video.currentTime });
  video.play();
}

async function open(browser, url) {
  const page = await browser.newPage();
  await page.route("http://player.test/", (route) =>
    route.fulfill({ contentType: "text/html", body: "<video muted autoplay></video>" }));
  await page.goto("http://player.test/");
  await page.addScriptTag({ content: readFileSync(script, "utf8") });
  await page.evaluate(play, url);
  return page;
}

const browser = await chromium.launch({
  executablePath: values.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required",
    // The page's host is a name that does not exist, and the relays are on loopback.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"],
});
let failed = [];
try {
  if (values.also) await open(browser, values.also);
  const page = await open(browser, values.url);
  await page.waitForTimeout(SETTLE_MS);
  const before = await page.evaluate(() => window.measure());
  const latencies = [];
  const end = Date.now() + Number(values.seconds) * 1000;
  while (Date.now() < end) {
    latencies.push((await page.evaluate(() => window.measure())).latency);
    await page.waitForTimeout(POLL_MS);
  }
  const after = await page.evaluate(() => window.measure());
  latencies.sort((a, b) => a - b);
  const median = latencies[Math.floor(latencies.length / 2)];
  const measured = {
    median_seconds: median,
    most_seconds: latencies.at(-1),
    target_seconds: after.target,
    played_seconds: after.position - before.position,
    parts: after.parts - before.parts,
    blocking: after.blocking - before.blocking,
    deltas: after.deltas - before.deltas,
    stalls: after.stalls - before.stalls,
    errors: after.errors,
  };
  console.log(JSON.stringify(measured));
  const expect = (holds, what) => holds || failed.push(what);
  expect(measured.most_seconds < BOUND_SECONDS, `${measured.most_seconds} s behind`);
  expect(measured.played_seconds > Number(values.seconds) * 0.9, `only ${measured.played_seconds} s played`);
  expect(measured.parts > Number(values.seconds), `only ${measured.parts} parts`);
  expect(measured.blocking > Number(values.seconds), `only ${measured.blocking} held playlist requests`);
  expect(measured.stalls === 0, `${measured.stalls} stalls`);
  expect(!after.errors.some(({ fatal }) => fatal), JSON.stringify(after.errors));
} finally {
  await browser.close();
}
failed.forEach((what) => console.log(`# ${what}`));
process.exitCode = failed.length === 0 ? 0 : 1;
