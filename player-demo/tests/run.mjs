// The player's tests: the loader's own, whether what is committed is what the sources build, and a demo played in headless
// Chromium while its relays are killed, slowed, hung and made to forge.
//
//   node tests/run.mjs [PART OF A NAME]     WEIR_BIN names the program (default: debug/weir in CARGO_TARGET_DIR or target/)
//
// Prints one line for each test and last of all `N passed, N failed`; exit code 0 when none failed. Screenshots are left in
// test-artifacts/ beside the program's folder. Every process started here has ended when this has.

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { building } from "./build.mjs";
import { faults } from "./faults.mjs";
import { players } from "./players.mjs";
import { looks } from "./looks.mjs";
import { artifacts, counts, END_MS, expect, folder, isAlive, killAll, launch, mendingWith, program, run, startDemo, test, until, within } from "./lib.mjs";

async function all() {
  expect(existsSync(program), `${program} is not there: run cargo build, or set WEIR_BIN`);
  mkdirSync(artifacts, { recursive: true });
  await building();
  await test("the loader's own tests", async () => {
    const text = await run(process.execPath, ["--test", join(folder, "loader/tests")]);
    return `${text.match(/^# pass (\d+)/m)[1]} tests`;
  });

  const demo = await startDemo();
  mendingWith(demo.heal);
  const browser = await launch();
  try {
    await looks(browser, demo);
    await players(browser, demo);
    await faults(browser, demo);
  } finally {
    await browser.close();
  }

  mendingWith(async () => {});
  await test("the demo drains and leaves nothing behind", async () => {
    const { relays, adapter } = await demo.description();
    demo.process.kill("SIGTERM");
    const code = await within(END_MS, demo.process.done, "ending the demo");
    expect(code === 0, `exit code ${code}`);
    await until(END_MS, () => ![adapter, ...relays].some(({ pid }) => pid && isAlive(pid)), "processes gone");
  });
}

try {
  await all();
} catch (error) {
  counts.failed += 1;
  console.log(`not ok - ${error.stack}`);
}
killAll();
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
