export type Bytes = Uint8Array<ArrayBuffer>;
export declare const utf8: (text: string) => Bytes;
export declare function concat(...parts: Uint8Array[]): Bytes;
export declare function equal(one: Uint8Array, other: Uint8Array): boolean;
/** Order of byte strings, as in deterministic encodings. */
export declare function compare(one: Uint8Array, other: Uint8Array): number;
export declare const hex: (bytes: Uint8Array) => string;
export declare function fromHex(text: string): Bytes;
export declare function fromBase64(text: string): Bytes;
export declare function base64url(bytes: Uint8Array): string;
/** The 32 bytes of a publisher id: the Ed25519 public key of its root key. */
export declare function publisherKey(id: string): Bytes;
/** The text form of a publisher's root key. */
export declare function publisherId(key: Uint8Array): string;
/** The bytes of a libp2p PeerId in base58. */
export declare function relayBytes(id: string): Bytes;
