// The page in an unmodified browser: what it asks, whether everybody can use it, what it looks like.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, folder, open, plays, read, shot, test } from "./lib.mjs";

const axe = readFileSync(join(folder, "node_modules/axe-core/axe.min.js"), "utf8");

/** Findings of axe that keep people out. */
async function barriers(page) {
  // The page's own policy forbids foreign scripts, as it should; the debugger's evaluation is not bound by it.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(grave.length === 0, grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`).join("\n"));
}

const calm = (noise) => noise.filter((line) => !line.includes("/weir/receipt"));

export async function looks(browser, demo) {
  const { page: url } = demo;

  await test("the live channel plays in an unmodified browser, and asks nobody else", async () => {
    const { page, noise } = await open(browser, url, { content: "live", relay: "b" });
    await plays(page, 8);
    await barriers(page);
    await shot(page, "live", true);
    // The browser's timing of the segment that has just arrived may still be on its way to the page.
    await page.waitForFunction(() => window.weir.segments.every(({ protocol }) => protocol), null, { timeout: 5000 });
    const seen = await read(page);
    const { relays, adapter } = await demo.description();
    const known = [url, adapter.http, ...relays.map(({ http }) => http)].map((known) => new URL(known).host);
    expect(seen.hosts.every((host) => known.includes(host)), `the page asks ${seen.hosts}`);
    expect(calm(noise).length === 0, `the browser complains: ${noise.join("\n")}`);
    expect(seen.protocols.join() === "http/1.1" && seen.relays.join() === "b", JSON.stringify(seen));
    expect(seen.verified === seen.segments && seen.segments > 0 && seen.rows > 0 && seen.fatal.length === 0, JSON.stringify(seen));
    expect(seen.status.includes("live channel from relay b over HTTP/1.1, every segment verified"), seen.status);
    await page.close();
    return `${seen.segments} segments, all verified`;
  });

  await test("the film plays, in the dark", async () => {
    const { page } = await open(browser, url, { content: "film", relay: "a", dark: true });
    await plays(page, 4);
    // Every part of the page in its busiest state.
    await page.click('[data-relay="c"] [data-act="kill"]');
    await page.click('[data-relay="b"] [data-act="corrupt"]');
    await page.click("summary");
    await plays(page, 3);
    await barriers(page);
    await shot(page, "film-dark", true);
    await demo.heal();
    const seen = await read(page);
    expect(seen.verified === seen.segments && seen.events.length >= 2, JSON.stringify(seen));
    const rows = await page.locator("#chart-table tbody tr").count();
    expect(rows === 30, `the chart's table has ${rows} rows`);
    await page.close();
  });

  await test("the page fits a telephone", async () => {
    const { page } = await open(browser, url, { content: "film", relay: "c", width: 390, height: 844 });
    await plays(page, 3);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(width <= 390, `the page is ${width} wide`);
    await barriers(page);
    await shot(page, "telephone", true);
    await page.close();
  });

  await test("everything is reached by keyboard, and the colours can be chosen", async () => {
    const { page } = await open(browser, url, { content: "film", relay: "a" });
    await plays(page, 1);
    await page.focus("#theme");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    expect((await page.evaluate(() => document.documentElement.dataset.theme)) === "dark", "the button changes nothing");
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(ground === "rgb(10, 20, 24)", `dark is ${ground}`);
    const reached = new Set();
    let toggled = false;
    const wanted = ["fail-over", "kill", "slow", "corrupt", "pause", "partition", "own-url"];
    for (let step = 0; step < 60 && !(toggled && wanted.every((name) => reached.has(name))); step += 1) {
      await page.keyboard.press("Tab");
      const { act, relay } = await page.evaluate(() => ({
        act: document.activeElement.dataset.act ?? document.activeElement.id, relay: document.activeElement.closest(".card")?.dataset.relay,
      }));
      if (relay === "c" && act === "slow") {
        await page.keyboard.press("Enter");
        await page.waitForSelector('[data-relay="c"] [data-act="slow"][aria-pressed="true"]');
        const kept = await page.evaluate(() => document.activeElement.dataset.act);
        expect(kept === "slow", "the focus is lost when the card is redrawn");
        await page.keyboard.press("Enter");
        await page.waitForSelector('[data-relay="c"] [data-act="slow"][aria-pressed="false"]');
        toggled = true;
      }
      reached.add(act);
    }
    for (const name of wanted) expect(reached.has(name), `${name} is not reached: ${[...reached]}`);
    expect(toggled, "Slow of relay c was not reached");
    await page.close();
  });

  await test("the viewer chooses the relay and the programme", async () => {
    const { page } = await open(browser, url, { content: "film", relay: "a" });
    await plays(page, 1);
    await page.click("#fail-over");
    await page.waitForFunction(() => window.weir.segments.at(-1)?.relay !== "a", null, { timeout: 15_000 });
    const next = (await read(page)).last;
    const other = next === "b" ? "c" : "b";
    await page.click(`[data-relay="${other}"] .prefer`);
    await page.waitForFunction((name) => window.weir.segments.at(-1)?.relay === name, other, { timeout: 15_000 });
    expect(page.url().includes(`relay=${other}`), page.url());
    await page.check('input[value="live"]', { force: true });
    await page.waitForFunction(() => document.getElementById("status-text").textContent.includes("live channel"), null, { timeout: 15_000 });
    await plays(page, 2);
    const seen = await read(page);
    expect(seen.fatal.length === 0, JSON.stringify(seen));
    await page.close();
  });

  await test("an edge's own player plays what the edge serves, and verifies it", async () => {
    const { relays, publisher } = await demo.description();
    const { page, noise } = await open(browser, new URL("/weir/player", relays[1].http).href, { src: "/film/master.m3u8" });
    await plays(page, 3);
    const seen = await read(page);
    expect(new URL(page.url()).pathname === "/weir/player/", page.url());
    expect(seen.verified === seen.segments && seen.segments > 0, JSON.stringify(seen));
    const known = await page.evaluate(() => window.weir.session.verifier.publisher);
    expect(known === publisher, `verified for ${known}`);
    expect(calm(noise).length === 0, noise.join("\n"));
    await shot(page, "edge-player");
    await page.close();
  });

  await test("an address that is none is named", async () => {
    const { page, noise } = await open(browser, url, { src: "javascript:alert(1)" });
    await page.waitForSelector('#status[data-state="fail"]', { timeout: 5000 });
    const said = await page.textContent("#status-text");
    expect(said.includes("javascript:alert(1)") && noise.length === 0, `${said} ${noise}`);
    await page.close();
  });

  await test("no other site's page controls the demo", async () => {
    const { relays, control } = await demo.description();
    const foreign = await browser.newPage();
    // A relay's own door is another origin on the same machine, as near as another site can come.
    await foreign.goto(new URL("/weir/player/", relays[0].http).href);
    const tried = await foreign.evaluate(async ([url, path, token]) => {
      const at = new URL(path, url).href;
      const body = JSON.stringify({ relay: "b", do: "kill" });
      const post = (headers, mode) => fetch(at, { method: "POST", body, headers, mode }).then(({ status, type }) => `${type} ${status}`, () => "blocked");
      const form = document.createElement("form");
      form.method = "post";
      form.action = at;
      form.enctype = "text/plain";
      form.append(Object.assign(document.createElement("input"), { name: `{"relay":"b","do":"kill","x":"`, value: `"}` }));
      const frame = Object.assign(document.createElement("iframe"), { name: "sink" });
      document.body.append(frame, form);
      form.target = "sink";
      try { form.submit(); } catch { /* the page's own policy may forbid it */ }
      return {
        told: await fetch(new URL("/api/demo", url)).then(() => "read", () => "blocked"),
        json: await post({ "Content-Type": "application/json", "Weir-Control": token }, "cors"),
        simple: await post({}, "no-cors"),
      };
    }, [url, control.path, control.token]);
    await foreign.waitForTimeout(300);
    await foreign.close();
    expect(tried.told === "blocked" && tried.json === "blocked", JSON.stringify(tried));
    const after = (await demo.description()).relays[1].condition;
    expect(after.state === "running" && after.pid === relays[1].pid, JSON.stringify(after));
    return JSON.stringify(tried);
  });
}
