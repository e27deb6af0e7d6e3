import { type Bytes } from "./bytes.js";
import { type KeyRing } from "./keys.js";
/** The header fields of a signed response. */
export interface RecordFields {
    readonly contentType: string | null;
    readonly contentEncoding: string | null;
    readonly reprDigest: string;
    readonly weirRecord: string;
    readonly signatureInput: string;
    readonly signature: string;
}
/** What a verified record states, as far as a player needs it. */
export interface Verified {
    /** Canonical path with query, below the publisher's root. */
    readonly target: string;
    readonly status: number;
    readonly length: number;
    readonly sha256: Bytes;
    readonly signedAt: number;
}
type Read = (name: string) => string | null;
/** The record's fields among a response's headers; nothing when one is missing. */
export declare function fieldsOf(read: Read): RecordFields | undefined;
/** The fields as `/weir/record` gives them. */
export declare function fieldsOfJson(json: unknown): RecordFields;
/** RFC 9421 section 2.5. */
export declare function signatureBase(fields: RecordFields, created: number, key: string): string;
/** Verifies a record as one of a resource that is known by one of these canonical targets. */
export declare function verifyRecord(fields: RecordFields, targets: string[], ring: KeyRing, now: number): Promise<Verified>;
/** Whether these bytes are what the record states. */
export declare function isBody(record: Verified, body: BufferSource): Promise<boolean>;
export {};
