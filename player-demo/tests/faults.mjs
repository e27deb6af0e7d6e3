// Relays that are killed, slow, hanging, lying while somebody watches. The picture is watched by its own movement, not by
// what the player says of itself.

import { expect, open, plays, read, shot, test, until } from "./lib.mjs";

/** Longest standstill that a viewer of the film, and of the live channel, may see, in milliseconds. */
const FILM_MS = 500;
const LIVE_MS = 1000;

/** Does something to whichever relay serves, and waits until another one does. */
async function strike(page, demo, act) {
  const relay = (await read(page)).last;
  await demo.order({ relay, ...act });
  await page.waitForFunction((name) => window.weir.segments.at(-1)?.relay !== name, relay, { timeout: 25_000 });
  return relay;
}

/** Plays while one relay after the other fails in each way; nothing heals but what is needed for the next. */
async function survive(browser, demo, content, limit) {
  const { page } = await open(browser, demo.page, { content, relay: "a" });
  await plays(page, 4);
  const lines = [];
  for (const act of [{ do: "kill" }, { do: "slow", bytes_per_second: 20_000 }, { do: "corrupt" }]) {
    let relay = await strike(page, demo, act);
    // A player that was about to leave the relay anyway has not seen it lie.
    for (let again = 0; act.do === "corrupt" && again < 3 && (await read(page)).forged === 0; again += 1) {
      await demo.heal();
      relay = await strike(page, demo, act);
    }
    await plays(page, 3);
    lines.push(`${act.do} ${relay}`);
    if (act.do === "slow") await demo.heal();
  }
  await shot(page, `${content}-survives`, true);
  await demo.heal();
  const hung = await strike(page, demo, { do: "pause" });
  await plays(page, 3);
  lines.push(`hang ${hung}`);
  await demo.heal();
  const seen = await read(page);
  await page.close();
  expect(seen.longestMs <= limit, `the picture stood still for ${seen.longestMs} ms: ${JSON.stringify(seen)}`);
  expect(seen.fatal.length === 0, `the player gave up: ${seen.fatal}`);
  expect(seen.forged > 0 && seen.verified === seen.segments, `forged ${seen.forged}, verified ${seen.verified} of ${seen.segments}`);
  return `${lines.join(", ")}; longest standstill ${seen.longestMs} ms`;
}

/** Counts what is appended to the media buffer, and keeps what it was. */
const watchAppends = () => {
  const { appendBuffer } = SourceBuffer.prototype;
  window.appended = [];
  SourceBuffer.prototype.appendBuffer = function watched(data) {
    window.appended.push(data.byteLength);
    return appendBuffer.call(this, data);
  };
};

export async function faults(browser, demo) {
  await test("the film survives Kill, Slow, Corrupt and Hang", () => survive(browser, demo, "film", FILM_MS));
  await test("the live channel survives Kill, Slow, Corrupt and Hang", () => survive(browser, demo, "live", LIVE_MS));

  await test("a forged segment is never appended to the buffer", async () => {
    const context = await browser.newContext();
    await context.addInitScript(watchAppends);
    const state = (page) => page.evaluate(() => ({
      appended: window.appended.length, forged: window.weir.forged, requested: performance.getEntriesByType("resource").filter(({ name }) => name.endsWith(".m4s")).length,
    }));
    const everyRelay = async (act) => { for (const relay of ["a", "b", "c"]) await demo.order({ relay, ...act }); };
    try {
      const { page } = await open(context, demo.page, { content: "film", relay: "a" });
      await plays(page, 2);
      await everyRelay({ do: "corrupt" });
      const before = (await read(page)).forged;
      // What was on its way when the last relay began to lie may still arrive.
      await page.waitForFunction((known) => window.weir.forged >= known + 3, before, { timeout: 25_000 });
      const first = await state(page);
      await page.waitForFunction((known) => window.weir.forged >= known + 3, first.forged, { timeout: 25_000 });
      const then = await state(page);
      expect(then.appended === first.appended, `appended while every relay lies: ${JSON.stringify([first, then])}`);
      // With nothing left in the buffer the picture stands still: then the watch that the tests above go by has to see it.
      await page.evaluate(() => {
        const video = document.querySelector("video");
        video.currentTime = video.buffered.end(video.buffered.length - 1) - 0.5;
      });
      await page.waitForFunction((limit) => window.weir.playhead.longestMs > limit, FILM_MS, { timeout: 10_000 });
      await demo.heal();
      await until(25_000, async () => (await state(page)).appended > then.appended, "going on when they are honest again");
      await plays(page, 2);
      await page.close();

      // The same without checking: then forged bytes are appended, so the test above could have failed.
      await everyRelay({ do: "corrupt" });
      const { page: blind } = await open(context, demo.page, { content: "film", relay: "a", verify: "off" });
      await until(15_000, async () => (await state(blind)).appended > 2, "appending without a check");
      const unchecked = await state(blind);
      expect(unchecked.forged === 0, JSON.stringify(unchecked));
      await blind.close();
      return `${then.forged} refused, 0 appended`;
    } finally {
      await demo.heal();
      await context.close();
    }
  });
}
