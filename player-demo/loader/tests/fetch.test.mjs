// The loader against real servers that refuse, hang, trickle, lie, or leave the signature to be asked for. The publisher is
// made here, with Node's own Ed25519.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";
import test, { after } from "node:test";

import { publisherId } from "../dist/bytes.js";
import { encode } from "../dist/cbor.js";
import { seal } from "../dist/cose.js";
import { Pathways } from "../dist/pathways.js";
import { signatureBase } from "../dist/record.js";
import { Session } from "../dist/session.js";

const subtle = crypto.subtle;
const now = Date.now();
const raw = async (key) => new Uint8Array(await subtle.exportKey("raw", key));
const root = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
const rootKey = await raw(root.publicKey);
const publisher = publisherId(rootKey);
const signing = generateKeyPairSync("ed25519");
const signingKey = signing.publicKey.export({ type: "spki", format: "der" }).subarray(-32);
const keyId = createHash("sha256").update(signingKey).digest().subarray(0, 8);
const list = new Map([
  [0, rootKey], [1, now], [2, now + 3_600_000],
  [3, [new Map([[0, new Uint8Array(keyId)], [1, new Uint8Array(signingKey)], [2, now - 60_000], [3, now + 3_600_000]])]],
]);
const keys = Buffer.from(await seal(encode(list), "weir/keys/1", rootKey, root.privateKey)).toString("base64");

/** The header fields of a signed response. */
function signed(target, body, query) {
  const digest = createHash("sha256").update(body).digest("base64");
  const zeros = Buffer.alloc(32).toString("base64");
  const fields = {
    contentType: "video/mp4", contentEncoding: null, reprDigest: `sha-256=:${digest}:`,
    weirRecord: `v=1, pub="${publisher}", path="${target}",${query ? ` query="${query}",` : ""} status=200, length=${body.length}, blake3=:${zeros}:, created=${now}, age=0, ttl=1, swr=0, sie=0, store, gen=1, headers=:${zeros}:`,
  };
  const [created, id] = [Math.floor(now / 1000), keyId.toString("hex")];
  const base = signatureBase(fields, created, id);
  return {
    "Content-Type": fields.contentType, "Repr-Digest": fields.reprDigest, "Weir-Record": fields.weirRecord,
    "Signature-Input": `weir=${base.slice(base.lastIndexOf('"@signature-params": ') + 21)}`,
    "Signature": `weir=:${sign(null, Buffer.from(base), signing.privateKey).toString("base64")}:`,
  };
}

const BODY = Buffer.alloc(40_000, 7);
const servers = [];
after(() => servers.forEach((server) => { server.closeAllConnections(); server.close(); }));

/** A server that answers segments in its own way; each counts what it was asked. */
async function serve(name, segment) {
  const asked = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://server");
    if (pathname === "/.well-known/weir") return response.end(JSON.stringify({ version: 1, publisher, keys, relay: `relay-${name}` }));
    asked.push(request.url);
    segment(request, response, pathname);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  servers.push(server);
  return { name, origin: `http://127.0.0.1:${server.address().port}`, asked, server };
}

const good = (request, response, pathname) => response.writeHead(200, signed(pathname, BODY)).end(BODY);
const lying = (request, response, pathname) => {
  const forged = Buffer.from(BODY);
  forged[20_000] ^= 1;
  response.writeHead(200, signed(pathname, BODY)).end(forged);
};
const hanging = () => {};
const trickling = (request, response, pathname) => {
  response.writeHead(200, { ...signed(pathname, BODY), "Content-Length": BODY.length });
  response.write(BODY.subarray(0, 100));
};

function session(pathways, options = {}) {
  const reports = [];
  const made = new Session({ publisher, pathways, onMedia: (report) => reports.push(report), ...options });
  return { made, reports };
}

const ask = (made, origin, path, more = {}) => made.media(
  { url: `${origin}${path}`, firstByteMs: 2500, totalMs: 10_000, budgetMs: 1400, signal: new AbortController().signal, ...more }, "tag");

test("an honest server is believed, and asked again", async () => {
  const [a, b] = [await serve("a", good), await serve("b", good)];
  const { made, reports } = session([a, b]);
  for (const path of ["/film/1.m4s", "/film/2.m4s"]) assert.deepEqual(Buffer.from((await ask(made, a.origin, path)).data), BODY);
  assert.equal(a.asked.length, 2);
  assert.equal(b.asked.length, 0);
  assert.ok(reports.every(({ verified, pathway, tag }) => verified && pathway.name === "a" && tag === "tag"));
});

test("forged bytes are refused and come from elsewhere; the liar is left", async () => {
  const [a, b] = [await serve("a", lying), await serve("b", good)];
  const { made, reports } = session([a, b]);
  assert.deepEqual(Buffer.from((await ask(made, a.origin, "/1.m4s")).data), BODY);
  await ask(made, a.origin, "/2.m4s");
  assert.equal(a.asked.length, 1, "once was enough");
  assert.deepEqual(reports[0].attempts.map(({ reason }) => reason), ["forged", undefined]);
});

test("what nobody has signed comes to nothing, and is told", async () => {
  const stripping = (request, response, pathname) => (pathname === "/weir/record" ? response.writeHead(404).end() : response.end(BODY));
  const swapping = (request, response) => response.writeHead(200, signed("/another.m4s", BODY)).end(BODY);
  for (const kind of [lying, stripping, swapping]) {
    const a = await serve("a", kind);
    const { made, reports } = session([a]);
    await assert.rejects(ask(made, a.origin, "/1.m4s"));
    assert.equal(reports.length, 1);
    assert.equal(reports[0].headers, undefined);
  }
  const a = await serve("a", good);
  await assert.rejects(ask(session([a], { publisher: publisherId(new Uint8Array(32).fill(9)) }).made, a.origin, "/1.m4s"), "another publisher");
});

test("a record that is not in the headers is asked for", async () => {
  const late = (request, response, pathname) => {
    if (pathname !== "/weir/record") return response.writeHead(200, { "Content-Type": "video/mp4" }).end(BODY);
    const key = new URL(request.url, "http://server").searchParams.get("key");
    const fields = signed(key, BODY);
    return response.end(JSON.stringify({
      content_type: "video/mp4", content_encoding: null, repr_digest: fields["Repr-Digest"], weir_record: fields["Weir-Record"],
      signature_input: fields["Signature-Input"], signature: fields.Signature,
    }));
  };
  const a = await serve("a", late);
  const { made, reports } = session([a]);
  await ask(made, a.origin, "/live/7.m4s");
  assert.ok(reports[0].verified);
  assert.equal(a.asked[1], "/weir/record?key=%2Flive%2F7.m4s");
});

test("a refusal costs next to nothing, a hang less than a second", async () => {
  const gone = await serve("gone", good);
  gone.server.close();
  const [hang, b] = [await serve("hang", hanging), await serve("b", good)];
  for (const [first, limit] of [[gone, 300], [hang, 1200]]) {
    const { made, reports } = session([first, b]);
    const begun = performance.now();
    await ask(made, first.origin, "/1.m4s");
    const took = performance.now() - begun;
    assert.ok(took < limit, `${first.name}: ${took} ms`);
    const again = performance.now();
    await ask(made, first.origin, "/2.m4s");
    assert.ok(performance.now() - again < 200, `${first.name} is asked again`);
    assert.equal(reports[1].pathway.name, "b");
  }
});

test("a body at too slow a pace comes from elsewhere", async () => {
  const [slow, b] = [await serve("slow", trickling), await serve("b", good)];
  const { made, reports } = session([slow, b]);
  const begun = performance.now();
  await ask(made, slow.origin, "/1.m4s");
  assert.ok(performance.now() - begun < 1500);
  assert.deepEqual(reports[0].attempts.map(({ reason }) => reason), ["slow", undefined]);
});

test("a range is cut from the whole that was verified, and the whole is fetched once", async () => {
  const a = await serve("a", good);
  const { made } = session([a]);
  const parts = await Promise.all([[0, 100], [100, 300], [39_000, 40_000]].map(([start, end]) => ask(made, a.origin, "/all.mp4", { range: { start, end } })));
  assert.deepEqual(parts.map(({ data }) => data.byteLength), [100, 200, 1000]);
  assert.deepEqual(a.asked.filter((target) => !target.startsWith("/weir/record")), ["/all.mp4"]);
  await assert.rejects(ask(made, a.origin, "/all.mp4", { range: { start: 0, end: 40_001 } }));
});

test("a range whose digest the publisher signed is checked by itself", async () => {
  const slice = BODY.subarray(100, 300);
  let lies = false;
  const ranged = (request, response, pathname) => {
    if (pathname === "/weir/record") {
      const said = { publisher, key: "/all.mp4", content_range: "bytes 100-299/40000", content_digest: `sha-256=:${createHash("sha256").update(slice).digest("base64")}:` };
      const page = Buffer.from(JSON.stringify(said));
      return response.writeHead(200, signed("/weir/record", page, "key=%2Fall.mp4&range=100-299")).end(page);
    }
    if (request.headers.range !== "bytes=100-299") return good(request, response, pathname);
    const part = Buffer.from(slice);
    if (lies) part[7] ^= 1;
    return response.writeHead(206, { "Content-Range": "bytes 100-299/40000" }).end(part);
  };
  const [a, b] = [await serve("a", ranged), await serve("b", good)];
  const range = { start: 100, end: 300 };
  const one = session([a]);
  assert.deepEqual(Buffer.from((await ask(one.made, a.origin, "/all.mp4", { range })).data), slice);
  assert.ok(one.reports[0].verified);
  assert.equal(a.asked.length, 2, "the page and the range, not the whole");
  lies = true;
  await assert.rejects(ask(session([a]).made, a.origin, "/all.mp4", { range }), /not those that the publisher signed/);
});

test("given up is given up", async () => {
  const a = await serve("a", hanging);
  const controller = new AbortController();
  const { made, reports } = session([a]);
  const asking = ask(made, a.origin, "/1.m4s", { signal: controller.signal });
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(asking, { name: "AbortError" });
  assert.equal(reports.length, 0);
});

test("an unsigned stream plays where checking is left to what is there", async () => {
  const server = createServer((request, response) => (request.url.endsWith(".m4s") ? response.end(BODY) : response.writeHead(404).end()));
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  servers.push(server);
  const origin = `http://127.0.0.1:${server.address().port}`;
  const reports = [];
  const made = new Session({ pathways: [{ name: "cdn", origin }], verify: "auto", onMedia: (report) => reports.push(report) });
  await ask(made, origin, "/1.m4s");
  assert.equal(reports[0].verified, false);
});

test("pathways: penalties double, end, and never leave nobody", () => {
  let time = 0;
  const [a, b] = ["https://a.example", "https://b.example"];
  const pathways = new Pathways([{ name: "a", origin: a }, { name: "b", origin: b }], () => time);
  const first = () => new URL(pathways.candidates(`${a}/x?y=1`)[0]).origin;
  assert.deepEqual(pathways.candidates(`${a}/x?y=1`), [`${a}/x?y=1`, `${b}/x?y=1`]);
  pathways.failed(`${a}/x`, "refused");
  assert.equal(first(), b);
  time = 5001;
  assert.equal(first(), a);
  pathways.failed(`${a}/x`, "refused");
  time += 5001;
  assert.equal(first(), b, "twice as long");
  pathways.failed(`${b}/x`, "timeout");
  assert.equal(first(), a, "the one whose penalty ends first");
  pathways.succeeded(`${a}/x`, 10);
  assert.equal(pathways.state(a).avoided, false);
  pathways.forgive(b);
  pathways.prefer(b);
  assert.equal(first(), b);
  assert.deepEqual(pathways.candidates("https://elsewhere.example/x"), ["https://elsewhere.example/x"]);
  pathways.learn("https://c.example/x", "c");
  assert.equal(pathways.candidates("https://c.example/x").length, 3);
});
