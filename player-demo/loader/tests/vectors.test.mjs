// The vectors that the relays' own code is tested with (protocol/tests/vectors), run by the code that browsers run.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as bytes from "../dist/bytes.js";
import * as cbor from "../dist/cbor.js";
import { open } from "../dist/cose.js";
import { verify, verifyByArithmetic } from "../dist/ed25519.js";
import { KeyRing } from "../dist/keys.js";
import { isBody, signatureBase, verifyRecord } from "../dist/record.js";
import { describe as describeKey, sign } from "../dist/receipts.js";
import { canonical, targets } from "../dist/resource.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../../../protocol/tests/vectors/${name}.json`, import.meta.url), "utf8"));
const keys = vectors("keys");
const record = vectors("record");
const ring = () => KeyRing.verify(keys.publisher, bytes.fromHex(keys.cose), keys.now_ms);
const fields = () => ({
  contentType: record.content_type, contentEncoding: record.content_encoding, reprDigest: record.repr_digest,
  weirRecord: record.weir_record, signatureInput: record.signature_input, signature: record.signature,
});

test("ids have their text forms", () => {
  assert.equal(bytes.hex(bytes.publisherKey(keys.publisher)), keys.root_public);
  assert.equal(bytes.publisherId(bytes.fromHex(keys.root_public)), keys.publisher);
  const [accepted] = [vectors("ids")];
  const relay = JSON.stringify(accepted).match(/12D3KooW[1-9A-HJ-NP-Za-km-z]{44}/)[0];
  assert.equal(bytes.relayBytes(relay).length, 38);
  for (const wrong of ["pub-", keys.publisher.toUpperCase(), `${keys.publisher}a`, keys.publisher.replace("pub-", "sub-")]) {
    assert.throws(() => bytes.publisherKey(wrong), wrong);
  }
});

test("a key list is believed when the root key signed it and it is its time", async () => {
  const list = await ring();
  const [{ key_id: id, public: key }] = keys.keys;
  assert.equal(bytes.hex(list.key(id, keys.now_ms)), key);
  assert.equal(list.key(id, keys.now_ms - 10_000), undefined, "before its time");
  assert.equal(list.key("0000000000000000", keys.now_ms), undefined);
  const cose = bytes.fromHex(keys.cose);
  await assert.rejects(KeyRing.verify(keys.publisher, cose, keys.expires_ms), /expired/);
  await assert.rejects(KeyRing.verify(keys.publisher, cose, keys.now_ms - 600_000), /future/);
  for (let at = 0; at < cose.length; at += 7) {
    const forged = cose.slice();
    forged[at] ^= 1;
    await assert.rejects(KeyRing.verify(keys.publisher, forged, keys.now_ms), `byte ${at}`);
  }
});

test("a record verifies for its resource and its bytes alone", async () => {
  const list = await ring();
  const target = record.path_and_query;
  assert.equal(signatureBase(fields(), Math.floor(record.now_ms / 1000), record.key_id), record.signature_base);
  const found = await verifyRecord(fields(), [target], list, record.now_ms);
  const body = bytes.fromHex(record.body);
  assert.equal(found.length, body.length);
  assert.ok(await isBody(found, body));
  for (let at = 0; at < body.length; at += 1) {
    const forged = body.slice();
    forged[at] ^= 1;
    assert.equal(await isBody(found, forged), false, `byte ${at}`);
  }
  assert.equal(await isBody(found, body.slice(1)), false);
  await assert.rejects(verifyRecord(fields(), ["/other"], list, record.now_ms), /is of/);
  await assert.rejects(verifyRecord(fields(), [target], list, record.now_ms - 400_000), /future/);
});

test("a record of which anything was changed is refused", async () => {
  const list = await ring();
  const other = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
  const changes = {
    contentType: ["text/html", null], contentEncoding: ["gzip"], reprDigest: [other],
    weirRecord: [record.weir_record.replace("status=200", "status=404"), record.weir_record.replace("v=1", "v=2"), `${record.weir_record}, x`],
    signatureInput: [
      record.signature_input.replace('"content-type" ', ""), record.signature_input.replace("record/1", "record/2"),
      record.signature_input.replace(/created=\d+/, "created=1800000001"), `${record.signature_input};x`, "",
    ],
    signature: [record.signature.replace("=:F", "=:G"), "weir=:AAAA:", "other=1"],
  };
  for (const [name, values] of Object.entries(changes)) {
    for (const value of values) {
      const forged = { ...fields(), [name]: value };
      await assert.rejects(verifyRecord(forged, [record.path_and_query], list, record.now_ms), `${name}: ${value}`);
    }
  }
});

test("resources have one name", () => {
  const { accepted, rejected } = vectors("resource_keys");
  assert.ok(accepted.length > 10 && rejected.length > 3);
  for (const { input, path_and_query: expected } of accepted) assert.equal(canonical(input), expected, input);
  for (const one of rejected) assert.throws(() => canonical(one.input ?? one), JSON.stringify(one));
  assert.deepEqual(targets("https://r/name/film/1.m4s?weir_token=t&x=1"), ["/name/film/1.m4s?x=1", "/film/1.m4s?x=1"]);
});

test("a viewer's receipt is byte for byte what the relays expect", async () => {
  const { statements, session_jwk: jwk, session_jkt: jkt, token_hash: token, epoch } = vectors("statements");
  const { cose, context } = statements.find(({ name }) => name === "viewer receipt");
  const secret = await crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]);
  const { d: _, ...open_ } = jwk;
  const half = await crypto.subtle.importKey("jwk", open_, "Ed25519", true, ["verify"]);
  const key = await describeKey(new Uint8Array(await crypto.subtle.exportKey("raw", half)), secret);
  assert.equal(key.thumbprint, jkt);
  assert.equal(key.jwk.x, jwk.x);
  const payload = cbor.decode(await open(bytes.fromHex(cose), context, key.publicKey));
  const peers = JSON.stringify(vectors("ids"));
  // The vector names its relays by their bytes; a receipt names them as people do.
  const base58 = (wanted) => {
    let number = BigInt(`0x${bytes.hex(wanted)}`);
    let text = "";
    for (; number > 0n; number /= 58n) text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[Number(number % 58n)] + text;
    return "1".repeat(wanted.findIndex((byte) => byte !== 0)) + text;
  };
  const shares = payload.get(5).map((share) => ({ relay: base58(share.get(0)), bytes: share.get(1), objects: share.get(2) })).reverse();
  assert.ok(shares.every(({ relay }) => relay.startsWith("12D3KooW")), peers);
  const receipt = {
    publisher: bytes.publisherId(payload.get(0)), tokenHash: bytes.fromHex(token), epoch, counter: payload.get(4), shares, time: payload.get(6),
  };
  assert.equal(bytes.hex(await sign(receipt, key)), cose);
});

test("what is not deterministic CBOR is refused", () => {
  for (const text of ["1801", "a201010101", "a202010101", "9f01ff", "5f4101ff", "0000", "f97c00", "fb3ff0000000000000", "c1", "81", "a10102ff", "1bffffffffffffffff"]) {
    assert.throws(() => cbor.decode(bytes.fromHex(text)), text);
  }
});

test("both ways of verifying Ed25519 agree", async () => {
  // RFC 8032 section 7.1, tests 1 to 3.
  const cases = [
    ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"],
    ["3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"],
    ["fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"],
  ].map((texts) => texts.map(bytes.fromHex));
  for (const [key, message, signature] of cases) {
    for (const way of [verify, verifyByArithmetic]) {
      assert.equal(await way(key, signature, message), true);
      for (const at of [0, 31, 32, 63]) {
        const forged = signature.slice();
        forged[at] ^= 1;
        assert.equal(await way(key, forged, message), false, `${way.name}, byte ${at}`);
      }
      assert.equal(await way(key, signature, bytes.concat(message, Uint8Array.of(0))), false);
    }
  }
  // A key of small order would accept a signature over anything.
  const weak = bytes.fromHex(`01${"00".repeat(31)}`);
  const signature = bytes.fromHex(`01${"00".repeat(63)}`);
  for (const way of [verify, verifyByArithmetic]) assert.equal(await way(weak, signature, Uint8Array.of(1)), false);
});
