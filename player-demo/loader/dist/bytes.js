// Bytes and their text forms: hexadecimal, base64 (RFC 4648), publisher ids (base32) and relay ids (base58).
//
// Invariant: each text form is read in exactly one spelling; anything else is an error that says what was expected.
const encoder = new TextEncoder();
export const utf8 = (text) => encoder.encode(text);
export function concat(...parts) {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        all.set(part, at);
        at += part.length;
    }
    return all;
}
export function equal(one, other) {
    return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
/** Order of byte strings, as in deterministic encodings. */
export function compare(one, other) {
    const shorter = Math.min(one.length, other.length);
    for (let at = 0; at < shorter; at += 1) {
        if (one[at] !== other[at])
            return one[at] - other[at];
    }
    return one.length - other.length;
}
export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export function fromHex(text) {
    if (!/^([0-9a-f]{2})*$/.test(text))
        throw new Error("expected lower-case hexadecimal digits");
    return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
export function fromBase64(text) {
    const binary = atob(text);
    // `atob` is lenient; one value has one spelling here.
    if (btoa(binary) !== text)
        throw new Error("expected canonical base64");
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
export function base64url(bytes) {
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const PUBLISHER = /^pub-[a-z2-7]{52}$/;
/** The 32 bytes of a publisher id: the Ed25519 public key of its root key. */
export function publisherKey(id) {
    if (!PUBLISHER.test(id))
        throw new Error("a publisher id is pub- and 52 lower-case base32 characters");
    const out = new Uint8Array(32);
    let bits = 0;
    let held = 0;
    let at = 0;
    for (const character of id.slice(4)) {
        held = (held << 5) | BASE32.indexOf(character);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            out[at] = (held >> bits) & 0xff;
            at += 1;
            held &= (1 << bits) - 1;
        }
    }
    if (held !== 0)
        throw new Error("a publisher id has no bits to spare");
    return out;
}
/** The text form of a publisher's root key. */
export function publisherId(key) {
    let bits = 0;
    let held = 0;
    let text = "pub-";
    for (const byte of key) {
        held = (held << 8) | byte;
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            text += BASE32[held >> bits];
            held &= (1 << bits) - 1;
        }
    }
    return bits > 0 ? text + BASE32[held << (5 - bits)] : text;
}
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/** The bytes of a libp2p PeerId in base58. */
export function relayBytes(id) {
    if (id.length === 0 || id.length > 64)
        throw new Error("a relay id is a PeerId in base58, like 12D3KooW…");
    const out = [];
    for (const character of id) {
        let carry = BASE58.indexOf(character);
        if (carry < 0)
            throw new Error("a relay id is a PeerId in base58, like 12D3KooW…");
        for (let at = 0; at < out.length; at += 1) {
            carry += out[at] * 58;
            out[at] = carry & 0xff;
            carry >>= 8;
        }
        while (carry > 0) {
            out.push(carry & 0xff);
            carry >>= 8;
        }
    }
    const zeros = id.length - id.replace(/^1+/, "").length;
    return Uint8Array.from([...Array(zeros).fill(0), ...out.reverse()]);
}
