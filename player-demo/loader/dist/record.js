// A signed record: what the publisher says a resource is (RFC 9421 signature over RFC 9530 digest and `Weir-Record`).
//
// Invariant: there is one allowed `Signature-Input` for given fields, second and key; it is rebuilt and compared, so that
// nothing can be left out of the signature or added to it. A record counts only for the resource that was asked for.
import { equal, utf8 } from "./bytes.js";
import { verify } from "./ed25519.js";
import { dictionary } from "./fields.js";
import { CLOCK_SKEW_MS } from "./keys.js";
/** The record's fields among a response's headers; nothing when one is missing. */
export function fieldsOf(read) {
    const [reprDigest, weirRecord, signatureInput, signature] = ["repr-digest", "weir-record", "signature-input", "signature"].map(read);
    if (!reprDigest || !weirRecord || !signatureInput || !signature)
        return undefined;
    return { contentType: read("content-type"), contentEncoding: read("content-encoding"), reprDigest, weirRecord, signatureInput, signature };
}
/** The fields as `/weir/record` gives them. */
export function fieldsOfJson(json) {
    const all = json;
    const text = (name) => {
        const value = all[name];
        if (typeof value !== "string")
            throw new Error(`the record has no ${name}`);
        return value;
    };
    const optional = (name) => (all[name] == null ? null : text(name));
    return {
        contentType: optional("content_type"),
        contentEncoding: optional("content_encoding"),
        reprDigest: text("repr_digest"),
        weirRecord: text("weir_record"),
        signatureInput: text("signature_input"),
        signature: text("signature"),
    };
}
/** The covered fields in their order, without those that the response has not. */
function covered(fields) {
    const all = [
        ["content-type", fields.contentType], ["content-encoding", fields.contentEncoding],
        ["repr-digest", fields.reprDigest], ["weir-record", fields.weirRecord],
    ];
    return all.filter((pair) => pair[1] !== null);
}
function parameters(fields, created, key) {
    const names = covered(fields).map(([name]) => `"${name}"`).join(" ");
    return `(${names});created=${created};keyid="${key}";alg="ed25519";tag="weir/record/1"`;
}
/** RFC 9421 section 2.5. */
export function signatureBase(fields, created, key) {
    const lines = covered(fields).map(([name, value]) => `"${name}": ${value}\n`).join("");
    return `${lines}"@signature-params": ${parameters(fields, created, key)}`;
}
function need(found, name, is) {
    if (found === undefined || !is(found))
        throw new Error(`the record's ${name} is missing or of another kind`);
    return found;
}
const isNumber = (value) => typeof value === "number" && value >= 0;
const isText = (value) => typeof value === "string";
const isBytes = (value) => value instanceof Uint8Array;
function member(text, name) {
    const value = dictionary(text).get(name)?.value;
    return Array.isArray(value) ? undefined : value;
}
/** Verifies a record as one of a resource that is known by one of these canonical targets. */
export async function verifyRecord(fields, targets, ring, now) {
    if (now >= ring.expires)
        throw new Error("the key list has expired");
    const input = dictionary(fields.signatureInput).get("weir");
    const created = need(input?.parameters.get("created"), "creation time", isNumber);
    const id = need(input?.parameters.get("keyid"), "key", isText);
    if (`weir=${parameters(fields, created, id)}` !== fields.signatureInput)
        throw new Error("the record covers other fields");
    if (created * 1000 > now + CLOCK_SKEW_MS)
        throw new Error("the record is from the future: is the clock right?");
    const key = ring.key(id, created * 1000);
    if (!key)
        throw new Error(`key ${id} is not on the publisher's list`);
    const signature = need(member(fields.signature, "weir"), "signature", isBytes);
    const isSigned = signature.length === 64 && (await verify(key, signature, utf8(signatureBase(fields, created, id))));
    if (!isSigned)
        throw new Error("the record's signature does not verify");
    const record = dictionary(fields.weirRecord);
    const text = (name) => need(record.get(name)?.value, name, isText);
    const number = (name) => need(record.get(name)?.value, name, isNumber);
    if (number("v") !== 1)
        throw new Error("the record is of another version");
    if (text("pub") !== ring.publisher)
        throw new Error("the record belongs to another publisher");
    const query = record.has("query") ? `?${text("query")}` : "";
    const target = text("path") + query;
    if (!targets.includes(target))
        throw new Error(`the record is of ${target}`);
    const sha256 = need(member(fields.reprDigest, "sha-256"), "digest", isBytes);
    return { target, status: number("status"), length: number("length"), sha256, signedAt: created * 1000 };
}
/** Whether these bytes are what the record states. */
export async function isBody(record, body) {
    if (body.byteLength !== record.length)
        return false;
    return equal(new Uint8Array(await crypto.subtle.digest("SHA-256", body)), record.sha256);
}
