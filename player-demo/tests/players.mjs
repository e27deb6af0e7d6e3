// HTTP/3, and players without this page: hls.js and Shaka with the loader as it is published.

import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { expect, folder, launch, open, PAGE_MS, plays, read, shot, test } from "./lib.mjs";

const TYPES = { html: "text/html", js: "text/javascript", mjs: "text/javascript" };

/** Another site: its page, its player, and the published loader. */
async function otherSite() {
  const places = { "/": "tests/pages/", "/loader/": "loader/dist/", "/hls.js/": "node_modules/hls.js/dist/", "/shaka/": "node_modules/shaka-player/dist/" };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    const [prefix] = Object.keys(places).filter((one) => pathname.startsWith(one)).sort((one, other) => other.length - one.length);
    const file = join(folder, places[prefix], normalize(pathname.slice(prefix.length)));
    if (!file.startsWith(folder) || !existsSync(file) || pathname.endsWith("/")) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[file.split(".").pop()] ?? "application/octet-stream" }).end(readFileSync(file));
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

export async function players(browser, demo) {
  const { page: url } = demo;
  const { relays, publisher, adapter, spki_sha256: spki } = await demo.description();

  const modern = await launch({ quic: relays.map(({ https }) => new URL(https).host), spki });
  try {
    for (const [content, relay] of [["live", "b"], ["film", "c"]]) {
      await test(`the ${content === "live" ? "live channel" : "film"} plays over HTTP/3`, async () => {
        const { page } = await open(modern, url, { content, relay, h3: "1" });
        await plays(page, 6);
        await page.waitForFunction(() => window.weir.segments.every(({ protocol }) => protocol), null, { timeout: 5000 });
        await shot(page, `${content}-h3`);
        const seen = await read(page);
        expect(seen.protocols.join() === "h3" && seen.relays.join() === relay && seen.verified === seen.segments, JSON.stringify(seen));
        await page.close();
        return `${seen.segments} segments`;
      });
    }
  } finally {
    await modern.close();
  }

  const site = await otherSite();
  try {
    for (const player of ["hls", "shaka"]) {
      await test(`${player === "hls" ? "hls.js" : "Shaka"} with the published loader on another site refuses forged segments and plays on`, async () => {
        const page = await browser.newPage();
        const options = {
          publisher, keySources: [adapter.http], pathways: relays.map(({ name, http, peer }) => ({ name, origin: http, relay: peer })),
        };
        const query = new URLSearchParams({ src: `${relays[0].http}/film/master.m3u8`, options: JSON.stringify(options) });
        await page.goto(`${site.url}/${player}.html?${query}`, { timeout: PAGE_MS });
        await plays(page, 3);
        await demo.order({ relay: "a", do: "corrupt" });
        await page.waitForFunction(() => window.refused > 0, null, { timeout: 20_000 });
        await plays(page, 4);
        await demo.heal();
        const seen = await page.evaluate(() => ({ refused: window.refused, served: window.served, failures: window.failures }));
        expect(seen.failures.length === 0, `failures: ${seen.failures}`);
        await page.close();
        return `${seen.served} served, ${seen.refused} refused`;
      });
    }
  } finally {
    site.close();
    await demo.heal();
  }
}
