// What the browser tests share: running tests one after the other, child processes that never outlive this one, a demo,
// a browser.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Longest wait for the demo to start, for processes to go, for a page to show something. */
const START_MS = 30_000;
export const END_MS = 30_000;
export const PAGE_MS = 20_000;
const POLL_MS = 50;

const here = dirname(fileURLToPath(import.meta.url));
export const folder = resolve(here, "..");
export const root = resolve(folder, "..");
export const target = resolve(process.env.CARGO_TARGET_DIR ?? join(root, "target"));
export const program = process.env.WEIR_BIN ?? join(target, "debug/weir");
export const artifacts = join(target, "test-artifacts");

const children = new Set();

export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  children.add(child);
  child.on("error", (error) => console.log(`# ${command}: ${error.message}`));
  child.done = new Promise((settle) => child.on("close", (code, signal) => {
    children.delete(child);
    settle(code ?? signal);
  }));
  return child;
}

export const killAll = () => children.forEach((child) => child.kill("SIGKILL"));
process.on("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Runs a command to its end and returns what it printed; anything but exit code 0 fails. */
export async function run(command, args, options = {}) {
  const child = start(command, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], ...options });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => { text += piece; });
  const code = await within(120_000, child.done, command);
  expect(code === 0, `${command} ${args.join(" ")}: exit code ${code}\n${text}`);
  return text;
}

/** Waits for a promise, but not forever. */
export async function within(ms, promise, what) {
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

/** Waits until a condition outside this process holds, and returns what it gave. */
export async function until(ms, condition, what) {
  const deadline = Date.now() + ms;
  for (;;) {
    const held = await condition();
    if (held) return held;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((next) => setTimeout(next, POLL_MS));
  }
}

export function expect(condition, what) {
  if (!condition) throw new Error(what);
}

export const counts = { passed: 0, failed: 0 };
/** Only tests whose names hold this are run, when it is given. */
const only = process.argv[2];

/** Puts everything right after a test that failed half-way. */
let mend = async () => {};
export const mendingWith = (heal) => { mend = heal; };

export async function test(name, body) {
  if (only && !name.includes(only)) return;
  const number = counts.passed + counts.failed + 1;
  const begun = Date.now();
  try {
    const remark = await body();
    counts.passed += 1;
    console.log(`ok ${number} - ${name}  # ${((Date.now() - begun) / 1000).toFixed(1)} s${remark ? `, ${remark}` : ""}`);
  } catch (error) {
    counts.failed += 1;
    console.log(`not ok ${number} - ${name}`);
    for (const line of String(error.stack ?? error).split("\n")) console.log(`#   ${line}`);
    await mend().catch((failure) => console.log(`#   not mended: ${failure.message}`));
  }
}

/** Starts a demo; `description` asks it anew what runs where, `order` does something to a relay. */
export async function startDemo() {
  const demo = start(program, ["demo", "--h3", "--free-ports"]);
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
  const description = async () => (await fetch(new URL("/api/demo", page))).json();
  const { control } = await description();
  const order = async (command) => {
    const answer = await fetch(new URL(control.path, page), {
      method: "POST", headers: { "Content-Type": "application/json", "Weir-Control": control.token }, body: JSON.stringify(command),
    });
    const said = await answer.json();
    expect(answer.ok, `${JSON.stringify(command)}: ${said.error}`);
    return said.condition;
  };
  const heal = async () => { for (const relay of ["a", "b", "c"]) await order({ relay, do: "heal" }); };
  return { process: demo, printed, page, description, order, heal };
}

export const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A headless Chromium; with `quic` it speaks HTTP/3 with these hosts and trusts the key of this hash. */
export function launch({ quic = [], spki } = {}) {
  const args = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
  ];
  if (quic.length) args.push("--enable-quic", `--origin-to-force-quic-on=${quic.join(",")}`);
  if (spki) args.push(`--ignore-certificate-errors-spki-list=${spki}`);
  return chromium.launch({ executablePath: process.env.WEIR_CHROMIUM ?? "/usr/bin/chromium", headless: true, args });
}

/** What the page knows, as plain values. */
export const read = (page) => page.evaluate(() => {
  const { segments, errors, forged, receipts, playhead } = window.weir;
  const unique = (list) => [...new Set(list)];
  const video = document.querySelector("video");
  return {
    status: document.getElementById("status-text").textContent, position: video.currentTime,
    segments: segments.length, verified: segments.filter(({ verified }) => verified).length, forged, receipts,
    // Proved by the browser's resource timing, not by what a server says of itself.
    protocols: unique(segments.map(({ protocol }) => protocol)), relays: unique(segments.map(({ relay }) => relay)), last: segments.at(-1)?.relay,
    fatal: errors.filter(({ fatal }) => fatal).map(({ details }) => details),
    stalls: playhead.stalls, longestMs: Math.round(playhead.longestMs),
    hosts: unique(performance.getEntriesByType("resource").map(({ name }) => new URL(name).host)),
    rows: document.querySelectorAll("#segments tr:not(.empty)").length,
    events: [...document.querySelectorAll("#events li:not(.empty)")].map(({ textContent }) => textContent),
  };
});

/** Opens the player; `noise` collects what the browser complains of. */
export async function open(browser, url, { width = 1320, height = 900, dark = false, ...query } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: dark ? "dark" : "light" });
  const noise = [];
  page.on("console", (message) => message.type() === "error" && noise.push(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => noise.push(String(error)));
  const whole = new URL(url);
  for (const [name, value] of Object.entries({ autoplay: "1", ...query })) whole.searchParams.set(name, value);
  await page.goto(whole.href, { timeout: PAGE_MS });
  return { page, noise };
}

/** Lets the page play so many seconds of media more; a jump counts as nothing. */
export async function plays(page, seconds) {
  const position = () => page.evaluate(() => document.querySelector("video").currentTime);
  let [last, played] = [await position(), 0];
  await until(PAGE_MS + seconds * 1500, async () => {
    const now = await position();
    if (now > last && now - last < 2) played += now - last;
    last = now;
    return played >= seconds;
  }, `playing ${seconds} s`);
}

export const shot = (page, name, fullPage = false) => page.screenshot({ path: join(artifacts, `${name}.png`), fullPage });
