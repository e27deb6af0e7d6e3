import { type Bytes } from "./bytes.js";
export type Cbor = number | string | Bytes | boolean | null | Cbor[] | Map<number, Cbor> | Tagged;
export interface Tagged {
    readonly tag: number;
    readonly value: Cbor;
}
export declare function encode(value: Cbor): Bytes;
export declare function decode(bytes: Uint8Array): Cbor;
/** Typed access to a map's members; the error names the member. */
export declare class Members {
    #private;
    readonly map: Cbor;
    readonly what: string;
    constructor(map: Cbor, what: string);
    number(key: number): number;
    bytes(key: number, length?: number): Bytes;
    list(key: number, most: number): Cbor[];
}
