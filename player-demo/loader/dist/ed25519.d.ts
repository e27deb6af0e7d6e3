import { type Bytes } from "./bytes.js";
/** Verifies without the browser's help; exported for tests and for browsers without Ed25519. */
export declare function verifyByArithmetic(key: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean>;
export declare function hasNativeEd25519(): Promise<boolean>;
/** Whether `signature` over `message` is of `key`. */
export declare function verify(key: Bytes, signature: Bytes, message: Bytes): Promise<boolean>;
