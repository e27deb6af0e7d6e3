// Ed25519 verification (RFC 8032): by WebCrypto where the browser has it, otherwise by the arithmetic below.
//
// The fallback is for browsers before Chromium 137, Firefox 129 and Safari 17, which have SHA-512 but no Ed25519. It
// takes some ten milliseconds for a signature and verifies only: it never holds a secret, so its timing tells nothing.
// Invariant: both ways refuse what is not canonical (s ≥ L, a point that is none) and keys of small order.

import { concat, type Bytes } from "./bytes.js";

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * inverse(121666n));
/** A square root of −1. */
const ROOT = power(2n, (P - 1n) / 4n);

/** A point in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. */
type Point = readonly [X: bigint, Y: bigint, Z: bigint, T: bigint];

const ZERO: Point = [0n, 1n, 1n, 0n];
const BASE = decompress(bytesOf(mod(4n * inverse(5n))))!;

function mod(value: bigint, by = P): bigint {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = base, rest = exponent; rest > 0n; rest >>= 1n, square = (square * square) % P) {
    if (rest & 1n) result = (result * square) % P;
  }
  return result;
}

function inverse(value: bigint): bigint {
  return power(mod(value), P - 2n);
}

function bytesOf(value: bigint): Bytes {
  return Uint8Array.from({ length: 32 }, (_, at) => Number((value >> BigInt(8 * at)) & 0xffn));
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function add([x1, y1, z1, t1]: Point, [x2, y2, z2, t2]: Point): Point {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * t1 * t2 * D);
  const d = mod(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function times(point: Point, factor: bigint): Point {
  let result = ZERO;
  for (let double = point, rest = factor; rest > 0n; rest >>= 1n, double = add(double, double)) {
    if (rest & 1n) result = add(result, double);
  }
  return result;
}

const same = ([x1, y1, z1]: Point, [x2, y2, z2]: Point): boolean =>
  mod(x1 * z2 - x2 * z1) === 0n && mod(y1 * z2 - y2 * z1) === 0n;

/** RFC 8032 section 5.1.3; nothing for what is no canonical encoding of a point. */
function decompress(bytes: Uint8Array): Point | undefined {
  const sign = bytes[31]! >> 7;
  const y = numberOf(bytes) & (2n ** 255n - 1n);
  if (y >= P) return undefined;
  const [u, v] = [mod(y * y - 1n), mod(D * y * y + 1n)];
  let x = mod(u * v ** 3n * power(mod(u * v ** 7n), (P - 5n) / 8n));
  if (mod(v * x * x + u) === 0n) x = mod(x * ROOT);
  if (mod(v * x * x - u) !== 0n || (x === 0n && sign === 1)) return undefined;
  if (Number(x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

const isWeak = (point: Point): boolean => same(times(point, 8n), ZERO);

/** Verifies without the browser's help; exported for tests and for browsers without Ed25519. */
export async function verifyByArithmetic(key: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  if (key.length !== 32 || signature.length !== 64) return false;
  const s = numberOf(signature.subarray(32));
  const a = decompress(key);
  const r = decompress(signature.subarray(0, 32));
  if (!a || !r || s >= L || isWeak(a)) return false;
  const digest = await crypto.subtle.digest("SHA-512", concat(signature.subarray(0, 32), key, message));
  const k = mod(numberOf(new Uint8Array(digest)), L);
  return same(times(BASE, s), add(r, times(a, k)));
}

/** Whether the browser knows Ed25519, found out once. */
let native: Promise<boolean> | undefined;

export function hasNativeEd25519(): Promise<boolean> {
  native ??= crypto.subtle.importKey("raw", bytesOf(BASE[1]), "Ed25519", false, ["verify"]).then(() => true, () => false);
  return native;
}

const imported = new Map<string, Promise<CryptoKey>>();
/** Keys kept imported; a publisher has at most 16. */
const MAX_IMPORTED = 64;

/** Whether `signature` over `message` is of `key`. */
export async function verify(key: Bytes, signature: Bytes, message: Bytes): Promise<boolean> {
  if (!(await hasNativeEd25519())) return verifyByArithmetic(key, signature, message);
  const point = decompress(key);
  if (!point || isWeak(point)) return false;
  const name = String(key);
  let handle = imported.get(name);
  if (!handle) {
    if (imported.size >= MAX_IMPORTED) imported.clear();
    handle = crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    imported.set(name, handle);
  }
  return crypto.subtle.verify("Ed25519", await handle, signature, message);
}
