// Whether the committed builds (dist/, loader/dist/) are what the sources build, and how measurements are read.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, folder, run, test } from "./lib.mjs";

function same(committed, built) {
  const [one, other] = [committed, built].map((place) => readdirSync(place).sort());
  expect(one.join() === other.join(), `${committed} holds ${one}, a fresh build ${other}: run npm run build and commit`);
  for (const name of one) {
    const equal = readFileSync(join(committed, name)).equals(readFileSync(join(built, name)));
    expect(equal, `${committed}/${name} is not what the sources build: run npm run build and commit`);
  }
}

export async function building() {
  const scratch = mkdtempSync(join(tmpdir(), "weir-player-"));
  const tsc = join(folder, "node_modules/typescript/bin/tsc");
  try {
    await test("what is committed is what the sources build", async () => {
      await Promise.all([
        run(process.execPath, [tsc, "-p", "loader", "--outDir", join(scratch, "loader")]),
        run(process.execPath, [tsc, "-p", "."]),
        run(process.execPath, ["node_modules/vite/bin/vite.js", "build", "--logLevel", "warn", "--outDir", join(scratch, "page"), "--emptyOutDir"]),
      ]);
      same(join(folder, "dist"), join(scratch, "page"));
      same(join(folder, "loader/dist"), join(scratch, "loader"));
    });

    await test("how Cache-Status is read", async () => {
      await run(process.execPath, [tsc, "-p", ".", "--noEmit", "false", "--outDir", join(scratch, "measure")]);
      const file = readdirSync(join(scratch, "measure"), { recursive: true }).find((name) => name.endsWith("src/measure.js"));
      const { protocolName, readCacheStatus, sourceOf } = await import(pathToFileURL(join(scratch, "measure", file)));
      const cases = [
        ["weir; hit; ttl=30", "hit", "", "store"], ["weir; hit, cdn; fwd=stale", "miss", "stale", "origin"],
        ["weir; fwd=miss, cdn; hit", "hit", "", "store"], ['weir; fwd=uri-miss; stored; detail="peer"', "miss", "peer", "peer"],
        ["weir; fwd=uri-miss; detail=adapter", "miss", "adapter", "origin"], ["weir; fwd=uri-miss", "miss", "uri-miss", "origin"],
        ['"a, b"; fwd=miss; detail="x; hit, y"', "miss", "x; hit, y", "origin"], ["", "none", "", "unknown"], ["weir", "none", "", "unknown"],
      ];
      for (const [field, result, detail, source] of cases) {
        assert.deepEqual(readCacheStatus(field), { result, detail }, field);
        assert.equal(sourceOf(readCacheStatus(field)), source, field);
      }
      assert.deepEqual(["h3", "hq-29", ""].map(protocolName), ["HTTP/3", "hq-29", "unknown"]);
    });
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
