// The browser tests: starts `weir demo` on free ports, plays its page in headless Chromium, kills a relay, ends the demo.
//
//   node tests/run.mjs          WEIR_BIN names the program (default: debug/weir in CARGO_TARGET_DIR or target/)
//
// Prints one line for each test and last of all `N passed, N failed`; exit code 0 when none failed. Screenshots are left in
// test-artifacts/ beside the program's folder. Every process started here has ended when this has.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Longest wait for the demo to start, for a play to end, and for processes to go. */
const START_MS = 30_000;
const PLAY_MS = 120_000;
const END_MS = 30_000;
const POLL_MS = 100;
/** Segments that a relay has served before it is killed. */
const BEFORE_KILL = 4;

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const target = resolve(process.env.CARGO_TARGET_DIR ?? join(root, "target"));
const program = process.env.WEIR_BIN ?? join(target, "debug/weir");
const artifacts = join(target, "test-artifacts");

const children = new Set();
const counts = { passed: 0, failed: 0 };

function start(command, args, stdio) {
  const child = spawn(command, args, { stdio });
  children.add(child);
  child.on("error", (error) => console.log(`# ${command}: ${error.message}`));
  child.done = new Promise((settle) => child.on("close", (code, signal) => {
    children.delete(child);
    settle(code ?? signal);
  }));
  return child;
}

const killAll = () => children.forEach((child) => child.kill("SIGKILL"));
process.on("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Waits for a promise, but not forever. */
async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what} took longer than ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until a condition outside this process holds. */
async function until(ms, condition, what) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((next) => setTimeout(next, POLL_MS));
  }
}

async function test(name, run) {
  const number = counts.passed + counts.failed + 1;
  try {
    const remark = await run();
    counts.passed += 1;
    console.log(`ok ${number} - ${name}${remark ? `  # ${remark}` : ""}`);
  } catch (error) {
    counts.failed += 1;
    console.log(`not ok ${number} - ${name}`);
    for (const line of String(error.message).split("\n")) console.log(`#   ${line}`);
  }
}

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

async function collect(stream) {
  let text = "";
  for await (const piece of stream) text += piece;
  return text;
}

/** Starts a demo and says where its page is and what it runs. */
async function startDemo() {
  const demo = start(program, ["demo", "--h3", "--free-ports"], ["ignore", "pipe", "inherit"]);
  const lines = createInterface({ input: demo.stdout });
  const printed = [];
  const ready = new Promise((settle, fail) => {
    lines.on("line", (line) => {
      printed.push(line);
      if (line.includes("Ctrl-C ends it")) settle();
    });
    demo.done.then((code) => fail(new Error(`the demo ended (${code}): ${printed.join("\n")}`)));
  });
  await within(START_MS, ready, "starting the demo");
  const page = printed.find((line) => line.includes("Player")).match(/http:\S+/)[0];
  const description = await (await fetch(new URL("/api/demo", page))).json();
  return { demo, printed, page, ...description };
}

/** Plays the page with play.mjs and returns what it saw. */
async function play(args) {
  const player = start(process.execPath, [join(here, "play.mjs"), ...args], ["ignore", "pipe", "inherit"]);
  const [text] = await within(PLAY_MS, Promise.all([collect(player.stdout), player.done]), "playing");
  const seen = JSON.parse(text);
  expect(seen.ok, `${seen.reasons.join("; ")}\n${text.trim()}`);
  return seen;
}

const shot = (name) => ["--screenshot", join(artifacts, `${name}.png`)];
const told = (seen) =>
  `${seen.played} s, ${seen.segments} segments, ${seen.protocols}, relay ${seen.relays}, ${seen.stalls} stalls`;

/** Media segments that a relay has served, by its own counting. */
async function served(relay) {
  const text = await (await fetch(new URL("/metrics", relay.admin))).text();
  const counters = text.matchAll(/^weir_http_requests_total\{code_class="2xx",kind="segment",[^}]*\} (\d+)/gm);
  return [...counters].reduce((sum, [, count]) => sum + Number(count), 0);
}

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function run() {
  expect(existsSync(program), `${program} is not there: run cargo build, or set WEIR_BIN`);
  mkdirSync(artifacts, { recursive: true });

  await test("how measurements are read", async () => {
    const tests = start(process.execPath, ["--test", join(here, "measure.test.mjs")], ["ignore", "pipe", "inherit"]);
    const [text, code] = await within(PLAY_MS, Promise.all([collect(tests.stdout), tests.done]), "testing");
    expect(code === 0, text);
  });

  const demo = await startDemo();
  const { page, relays } = demo;
  const secure = new URL("?h3=1", page).href;
  const trust = ["--spki", demo.spki_sha256, ...relays.flatMap(({ https }) => ["--quic", new URL(https).host])];

  await test("the live channel plays in an unmodified browser", async () => {
    const seen = await play(["--page", page, "--content", "live", "--relay", "b", "--expect", "http/1.1",
      "--seconds", "10", ...shot("live")]);
    const known = [new URL(page).host, new URL(relays[1].http).host];
    expect(seen.foreign.every((host) => known.includes(host)), `the page asks ${seen.foreign}`);
    return told(seen);
  });

  await test("the film plays in an unmodified browser", async () => told(await play(["--page", page, "--content", "film",
    "--relay", "a", "--expect", "http/1.1", "--seconds", "8", "--dark", "--full-page", ...shot("film-dark")])));

  await test("the page fits a telephone", async () => told(await play(["--page", page, "--content", "film", "--relay", "c",
    "--seconds", "4", "--width", "390", "--height", "844", "--full-page", ...shot("film-narrow")])));

  await test("the live channel plays over HTTP/3", async () => told(await play(["--page", secure, "--content", "live",
    "--relay", "b", "--expect", "h3", "--seconds", "10", ...trust, ...shot("live-h3")])));

  await test("the film plays over HTTP/3", async () => told(await play(["--page", secure, "--content", "film",
    "--relay", "c", "--expect", "h3", "--seconds", "8", ...trust, ...shot("film-h3")])));

  await test("the film goes on when its relay is killed", async () => {
    const [relay] = relays;
    const before = await served(relay);
    const playing = play(["--page", page, "--content", "film", "--relay", relay.name, "--survive", "--seconds", "24",
      ...shot("film-killed")]);
    // A play that fails before the relay is killed is reported as such.
    await Promise.race([playing, until(PLAY_MS, async () => (await served(relay)) >= before + BEFORE_KILL, "segments")]);
    process.kill(relay.pid, "SIGKILL");
    const seen = await playing;
    expect(seen.failovers > 0 && seen.relays.length > 1, `no change of relay: ${seen.relays}`);
    expect(seen.relays[0] === relay.name, `it began at ${seen.relays[0]}`);
    return `${told(seen)}, ${seen.failovers} changes`;
  });

  await test("the demo tells of the dead relay, drains and leaves nothing behind", async () => {
    demo.demo.kill("SIGTERM");
    const code = await within(END_MS, demo.demo.done, "ending the demo");
    expect(code === 0, `exit code ${code}`);
    expect(demo.printed.some((line) => line.startsWith("! relay a ended: signal 9")), demo.printed.join("\n"));
    await until(END_MS, () => ![demo.adapter, ...relays].some(({ pid }) => isAlive(pid)), "processes gone");
  });
}

try {
  await run();
} catch (error) {
  counts.failed += 1;
  console.log(`not ok - ${error.message}`);
}
killAll();
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
