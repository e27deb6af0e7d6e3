// How Cache-Status fields are read (RFC 9211). Run with: node --test tests/

import assert from "node:assert/strict";
import test from "node:test";

import { protocolName, readCacheStatus } from "../measure.js";

test("the cache next to the player decides", () => {
  assert.deepEqual(readCacheStatus("weir; hit; ttl=30"), { result: "hit", detail: "" });
  assert.deepEqual(readCacheStatus("weir; hit, cdn; fwd=stale"), { result: "miss", detail: "stale" });
  assert.deepEqual(readCacheStatus("weir; fwd=miss, cdn; hit"), { result: "hit", detail: "" });
});

test("the detail says where a miss was filled from", () => {
  assert.deepEqual(readCacheStatus('weir; fwd=uri-miss; stored; detail="peer"'), { result: "miss", detail: "peer" });
  assert.deepEqual(readCacheStatus("weir; fwd=uri-miss; detail=adapter"), { result: "miss", detail: "adapter" });
  assert.deepEqual(readCacheStatus("weir; fwd=uri-miss"), { result: "miss", detail: "uri-miss" });
});

test("separators inside quotes do not separate", () => {
  assert.deepEqual(readCacheStatus('"a, b"; fwd=miss; detail="x; hit, y"'), { result: "miss", detail: "x; hit, y" });
});

test("no field and a strange field are not stated", () => {
  assert.equal(readCacheStatus("").result, "none");
  assert.equal(readCacheStatus("weir").result, "none");
});

test("protocols have their common names", () => {
  assert.equal(protocolName("h3"), "HTTP/3");
  assert.equal(protocolName("hq-29"), "hq-29");
  assert.equal(protocolName(""), "unknown");
});
