// COSE_Sign1 (RFC 9052 section 4.2) in the one shape that this protocol uses: tag 18, protected header {1: -8, 4: kid},
// empty unprotected header, payload inside, Ed25519, the message's context string as external data.
//
// Invariant: a signature that was made for one kind of message never verifies as another.

import { equal, utf8, type Bytes } from "./bytes.js";
import { decode, encode, type Tagged } from "./cbor.js";
import { verify } from "./ed25519.js";

const TAG = 18;
const EDDSA = -8;

/** The first 8 bytes of a key's SHA-256. */
export async function keyId(key: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", key)).slice(0, 8);
}

const header = (kid: Bytes): Bytes => encode(new Map<number, number | Bytes>([[1, EDDSA], [4, kid]]));
const signedBytes = (protectedHeader: Bytes, context: string, payload: Bytes): Bytes =>
  encode(["Signature1", protectedHeader, utf8(context), payload]);

/** Verifies a message of `context` by `key` and returns its payload. */
export async function open(message: Bytes, context: string, key: Bytes): Promise<Bytes> {
  const outer = decode(message) as Tagged;
  const parts = outer?.tag === TAG && Array.isArray(outer.value) ? outer.value : [];
  const [protectedHeader, unprotected, payload, signature] = parts;
  if (
    parts.length !== 4 || !(protectedHeader instanceof Uint8Array) || !(payload instanceof Uint8Array) ||
    !(signature instanceof Uint8Array) || !(unprotected instanceof Map) || unprotected.size > 0
  ) {
    throw new Error("no COSE_Sign1 message of this protocol");
  }
  if (!equal(protectedHeader, header(await keyId(key)))) throw new Error("signed by another key");
  if (!(await verify(key, signature, signedBytes(protectedHeader, context, payload)))) {
    throw new Error("the signature does not verify");
  }
  return payload;
}

/** Signs a payload with a key that need not be extractable. */
export async function seal(payload: Bytes, context: string, publicKey: Bytes, secret: CryptoKey): Promise<Bytes> {
  const protectedHeader = header(await keyId(publicKey));
  const signature = await crypto.subtle.sign("Ed25519", secret, signedBytes(protectedHeader, context, payload));
  const value = [protectedHeader, new Map<number, number>(), payload, new Uint8Array(signature)];
  return encode({ tag: TAG, value });
}
