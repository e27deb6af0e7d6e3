// Steering in real players: an adapter, two relays and a node in front of the first that fails on demand. hls.js and Shaka
// play side by side in headless Chromium from the first relay; it then refuses connections, answers 404, answers 503, or
// hangs, and each player must go on from elsewhere.
//
//   node tests/steering.mjs      WEIR_BIN names the program (default: debug/weir in CARGO_TARGET_DIR or target/)
//
// Prints one line for each fault and player with what was measured:
//   gap      from the fault to the first media segment from another place, in seconds
//   stalled  how long the picture stood still afterwards, in seconds
// and last of all `N passed, N failed`; exit code 0 when none failed. Needs ffmpeg beside the browser.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as send } from "node:http";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const target = resolve(process.env.CARGO_TARGET_DIR ?? join(root, "target"));
const program = process.env.WEIR_BIN ?? join(target, "debug/weir");

/** Played before the fault, and after it. */
const BEFORE_S = 5;
const AFTER_MS = 16_000;
const START_MS = 30_000;
/** Longest time that a picture may stand still and nobody calls it rebuffering: a change of source buffer. */
const TWITCH_S = 0.25;

/** What players are told beside their defaults when "tuned" (docs/steering.md). */
const FAULTS = [
  { name: "refused", tuned: false, gap: 5 },
  { name: "404", tuned: false, gap: 5 },
  { name: "503", tuned: true, gap: 8 },
  { name: "hang", tuned: true, gap: 10 },
];

const children = new Set();
const counts = { passed: 0, failed: 0 };
const folder = mkdtempSync(join(tmpdir(), "weir-steering-"));
const killAll = () => children.forEach((child) => child.kill("SIGKILL"));
process.on("exit", () => {
  killAll();
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

function report(ok, name, remark) {
  counts[ok ? "passed" : "failed"] += 1;
  console.log(`${ok ? "ok" : "not ok"} ${counts.passed + counts.failed} - ${name}${remark ? `  # ${remark}` : ""}`);
}

async function until(ms, condition, what) {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((next) => setTimeout(next, 100));
  }
}

/** A port that is free on each of these addresses. */
async function freePort(...hosts) {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const held = [];
    try {
      let port = 0;
      for (const host of hosts) {
        const server = listen();
        await new Promise((done, fail) => server.once("error", fail).listen(port, host, done));
        held.push(server);
        ({ port } = server.address());
      }
      return port;
    } catch {
      // Taken on one of them: another one.
    } finally {
      await Promise.all(held.map((server) => new Promise((done) => server.close(done))));
    }
  }
  throw new Error(`no port is free on ${hosts}`);
}

/** Two renditions of the demo's clip, cut into segments of two seconds, forty seconds long. */
function makeFilm() {
  for (const [name, clip] of [["low", "360p"], ["high", "540p"]]) {
    const playlist = join(folder, `film-${name}.m3u8`);
    const args = ["-v", "error", "-stream_loop", "20", "-i", join(root, `src/demo/clip/${clip}.mp4`), "-t", "40", "-c", "copy",
      "-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_playlist_type", "vod", "-hls_segment_type", "mpegts",
      "-hls_segment_filename", join(folder, `film-${name}-%03d.ts`), playlist];
    const { status, stderr } = spawnSync("ffmpeg", args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`ffmpeg: ${stderr}`);
  }
  const variants = [["low", 400_000, "640x360"], ["high", 900_000, "960x540"]].map(([name, bandwidth, resolution]) =>
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},RESOLUTION=${resolution},CODECS="avc1.4d401f,mp4a.40.2"\nfilm-${name}.m3u8\n`);
  return `#EXTM3U\n#EXT-X-VERSION:3\n${variants.join("")}`;
}

async function weir(args) {
  const child = spawn(program, [...args, "--json"], { stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, WEIR_LOG: process.env.WEIR_LOG ?? "error" } });
  children.add(child);
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([
    new Promise((done) => lines.once("line", done)),
    new Promise((_, fail) => child.once("close", (code) => fail(new Error(`weir ${args[0]} ended: ${code}`)))),
  ]);
  return JSON.parse(line);
}

/** In front of a relay; its `mode` is how it fails. A door that refuses is one that does not listen. */
class Door {
  constructor(host, port, behind) {
    Object.assign(this, { host, port, behind, mode: "ok", sockets: new Set(), server: null, shown: 0 });
  }

  open() {
    this.server = createServer((request, response) => this.answer(request, response));
    this.server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    return new Promise((done) => this.server.listen(this.port, this.host, done));
  }

  answer(request, response) {
    response.on("error", () => {});
    if (this.mode === "hang") return;
    if (this.mode !== "ok") {
      response.writeHead(Number(this.mode), { "access-control-allow-origin": "*", "cache-control": "no-store" }).end("gone\n");
      return;
    }
    const { method, url, headers } = request;
    const passed = send({ host: this.behind.host, port: this.behind.port, method, path: url, headers }, (answer) => {
      if (url === "/weir/door" && answer.statusCode === 200) response.on("finish", () => (this.shown += 1));
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    request.pipe(passed);
  }

  async fail(mode) {
    this.mode = mode;
    if (mode === "refused") this.server.close();
    // What is on its way breaks off, as when a relay dies; one that hangs leaves connections open.
    if (mode === "refused") this.sockets.forEach((socket) => socket.destroy());
  }

  async recover() {
    if (this.mode === "refused") await this.open();
    this.sockets.forEach((socket) => socket.destroy());
    this.mode = "ok";
    this.shown = 0;
  }
}

const PAGE = `<!doctype html><video muted playsinline width=320></video>
<script src="/hls.js"></script><script src="/shaka.js"></script><script>
window.seen = { segments: [], errors: [], still: 0, stills: [] };
const video = document.querySelector("video");
let last = -1, at = performance.now();
setInterval(() => {
  const now = performance.now(), moved = video.currentTime !== last;
  if (!moved && last > 0 && !video.ended) {
    seen.still += (now - at) / 1000;
    seen.stills.push(Date.now());
  }
  last = video.currentTime; at = now;
}, 50);
const note = (url) => /\\.ts/.test(url) && seen.segments.push({ at: Date.now(), host: new URL(url).host });
window.play = async (player, source, tuned) => {
  if (player === "hls.js") {
    const patient = { default: { maxTimeToFirstByteMs: 2500, maxLoadTimeMs: 20000, timeoutRetry: null, errorRetry: null } };
    const limits = { maxBufferLength: 10, maxMaxBufferLength: 10, backBufferLength: 10 };
    const policies = tuned ? { fragLoadPolicy: patient, playlistLoadPolicy: patient } : {};
    const hls = new Hls({ ...limits, ...policies });
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag }) => note(frag.url));
    hls.on(Hls.Events.ERROR, (_, { details, fatal }) => seen.errors.push([Date.now(), fatal ? details + "!" : details]));
    hls.loadSource(source);
    hls.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    const shakaPlayer = new shaka.Player();
    await shakaPlayer.attach(video);
    const retry = { maxAttempts: 3, baseDelay: 100, backoffFactor: 1, timeout: 0, stallTimeout: 2500, connectionTimeout: 2500 };
    shakaPlayer.configure("streaming.bufferingGoal", 10);
    if (tuned) for (const part of ["streaming", "manifest"]) shakaPlayer.configure(part + ".retryParameters", retry);
    shakaPlayer.addEventListener("error", ({ detail }) => seen.errors.push([Date.now(), detail.code]));
    shakaPlayer.getNetworkingEngine().registerResponseFilter((type, { uri }) => note(uri));
    await shakaPlayer.load(source);
  }
  await video.play();
};
</script>`;

function servePage(port) {
  const scripts = {
    "/hls.js": join(root, "player-demo/node_modules/hls.js/dist/hls.min.js"),
    "/shaka.js": join(root, "player-demo/node_modules/shaka-player/dist/shaka-player.compiled.js"),
  };
  return new Promise((done) => {
    const server = createServer(({ url }, response) => {
      const script = scripts[url];
      response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
      response.end(script ? readFileSync(script) : PAGE);
    }).listen(port, "127.0.0.1", () => done(server));
  });
}

async function watch(browser, page, source, door, { name, tuned, gap: allowed }, player) {
  const tab = await browser.newPage();
  await tab.goto(page);
  await tab.evaluate(([player, source, tuned]) => window.play(player, source, tuned), [player, source, tuned]);
  const seen = () => tab.evaluate(() => {
    const { buffered, currentTime: position } = document.querySelector("video");
    const ahead = buffered.length ? buffered.end(buffered.length - 1) - position : 0;
    return { ...window.seen, position, ahead };
  });
  await until(START_MS, async () => (await seen()).position >= BEFORE_S, `${player} plays`);
  return {
    /** What happened after the fault at `failed`. */
    async judge(failed, stillBefore, positionBefore, aheadBefore) {
      const { segments, still, stills, position, errors, ahead } = await seen();
      const since = (at) => ((at - failed) / 1000).toFixed(1);
      const own = `${door.host}:${door.port}`;
      const began = segments.find(({ at, host }) => at < failed && host === own);
      const other = segments.find(({ at, host }) => at >= failed && host !== own);
      const gap = other ? (other.at - failed) / 1000 : Infinity;
      const stalled = Math.max(0, still - stillBefore);
      const ok = began && gap <= allowed && stalled <= TWITCH_S && position - positionBefore > (AFTER_MS / 1000) * 0.9;
      report(ok, `${player} goes on when its relay ${name === "hang" ? "hangs" : `says ${name}`}${tuned ? ", tuned" : ""}`,
        `gap ${gap.toFixed(2)} s, stalled ${stalled.toFixed(2)} s, played ${(position - positionBefore).toFixed(1)} s, ` +
        `then ${other?.host ?? "nothing"}`);
      if (!ok) {
        console.log(`#   buffered ${aheadBefore.toFixed(1)} s before and ${ahead.toFixed(1)} s now; began ${began?.host}`);
        console.log(`#   segments ${segments.filter(({ at }) => at >= failed).map(({ at, host }) => `${since(at)} ${host}`)}`);
        console.log(`#   errors ${errors.map(([at, what]) => `${since(at)} ${what}`).slice(-20)}`);
        console.log(`#   still ${stills.filter((at) => at >= failed).map(since).filter((_, n) => n % 5 === 0)}`);
      }
      await tab.close();
    },
    seen,
  };
}

async function run() {
  if (!existsSync(program)) throw new Error(`${program} is not there: run cargo build, or set WEIR_BIN`);
  writeFileSync(join(folder, "film.m3u8"), makeFilm());
  const doors = await freePort("127.0.0.1", "127.0.0.2");
  const [pagePort, publicPort] = [await freePort("127.0.0.1"), await freePort("127.0.0.3")];
  // Shaka bans what has failed by host name alone: each place has one of its own.
  const publicUrl = `http://127.0.0.3:${publicPort}`;
  const any = "127.0.0.1:0";
  await weir(["origin", "--upstream", folder, "--http", `127.0.0.3:${publicPort}`, "--peer", any, "--admin", any,
    "--data", join(folder, "data-origin"), "--public-url", publicUrl, "--steer"]);
  const join2 = (name) => ["edge", "--join", publicUrl, "--listen", any, "--peer", any, "--admin", any,
    "--data", join(folder, `data-${name}`)];
  const first = await weir([...join2("a"), "--http", any, "--door", `http://127.0.0.1:${doors}`]);
  const [host, port] = first.http[0].split(":");
  const door = new Door("127.0.0.1", doors, { host, port });
  await door.open();
  await weir([...join2("b"), "--http", `127.0.0.2:${doors}`, "--door", `http://127.0.0.2:${doors}`]);
  const base = `http://127.0.0.1:${doors}`;
  const source = `${base}/film.m3u8`;
  // Before a player asks, the list names both relays, and the first one first for whoever begins there. After a fault its
  // door has been asked again as well: the proof from before the fault may end at any moment.
  const list = `${publicUrl}/weir/steer?for=%2Ffilm.m3u8&base=${encodeURIComponent(base)}&_HLS_pathway=A`;
  const named = async () => {
    if (door.shown === 0) return null;
    const answer = await (await fetch(list)).json();
    return answer["PATHWAY-CLONES"]?.length === 1 && answer["PATHWAY-PRIORITY"][0] === "A" ? answer : null;
  };
  const server = await servePage(pagePort);
  const page = `http://127.0.0.1:${pagePort}/`;
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required",
      "--disable-background-timer-throttling", "--disable-renderer-backgrounding"] });
  try {
    for (const fault of FAULTS) {
      await until(START_MS, named, "both relays in the list");
      const watched = [];
      for (const player of ["hls.js", "Shaka"]) {
        try {
          watched.push(await watch(browser, page, `${source}?n=${fault.name}`, door, fault, player));
        } catch (error) {
          report(false, `${player} plays before ${fault.name}`, error.message);
        }
      }
      const before = await Promise.all(watched.map(({ seen }) => seen()));
      const failed = Date.now();
      await door.fail(fault.name);
      await new Promise((next) => setTimeout(next, AFTER_MS));
      for (const [at, tab] of watched.entries()) await tab.judge(failed, before[at].still, before[at].position, before[at].ahead);
      await door.recover();
    }
  } finally {
    await browser.close();
    server.close();
    door.server.close();
    door.sockets.forEach((socket) => socket.destroy());
  }
}

try {
  await run();
} catch (error) {
  counts.failed += 1;
  console.log(`not ok - ${error.stack}`);
}
killAll();
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 ? 0 : 1);
