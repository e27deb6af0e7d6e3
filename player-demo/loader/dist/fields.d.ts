import { type Bytes } from "./bytes.js";
export type Bare = number | string | boolean | Bytes | Token;
export interface Token {
    readonly token: string;
}
export interface Item {
    readonly value: Bare | Item[];
    readonly parameters: Map<string, Bare>;
}
export declare const dictionary: (text: string) => Map<string, Item>;
