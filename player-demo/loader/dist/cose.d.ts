import { type Bytes } from "./bytes.js";
/** The first 8 bytes of a key's SHA-256. */
export declare function keyId(key: Bytes): Promise<Bytes>;
/** Verifies a message of `context` by `key` and returns its payload. */
export declare function open(message: Bytes, context: string, key: Bytes): Promise<Bytes>;
/** Signs a payload with a key that need not be extractable. */
export declare function seal(payload: Bytes, context: string, publicKey: Bytes, secret: CryptoKey): Promise<Bytes>;
