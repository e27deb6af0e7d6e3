// Structured field dictionaries (RFC 9651) as far as records use them: items of integer, string, byte sequence, token
// and boolean, inner lists, parameters.
//
// Invariant: what is not well-formed throws; of a member that occurs twice the last counts, as the standard says.
import { fromBase64 } from "./bytes.js";
class Parser {
    text;
    at = 0;
    constructor(text) {
        this.text = text;
    }
    fail() {
        throw new Error(`not a structured field, at character ${this.at}`);
    }
    skip(characters) {
        while (this.at < this.text.length && characters.includes(this.text[this.at]))
            this.at += 1;
    }
    match(pattern) {
        pattern.lastIndex = this.at;
        const found = pattern.exec(this.text)?.[0];
        if (found !== undefined)
            this.at += found.length;
        return found;
    }
    take(character) {
        if (this.text[this.at] !== character)
            return false;
        this.at += 1;
        return true;
    }
    key() {
        return this.match(/[a-z*][a-z0-9_.*-]*/y) ?? this.fail();
    }
    bare() {
        const next = this.text[this.at];
        if (next === '"') {
            const quoted = this.match(/"(?:[ !#-[\]-~]|\\["\\])*"/y) ?? this.fail();
            return quoted.slice(1, -1).replace(/\\(.)/g, "$1");
        }
        if (next === ":")
            return fromBase64((this.match(/:[A-Za-z0-9+/=]*:/y) ?? this.fail()).slice(1, -1));
        if (next === "?")
            return (this.match(/\?[01]/y) ?? this.fail()) === "?1";
        if (next !== undefined && /[-0-9]/.test(next)) {
            const digits = this.match(/-?[0-9]{1,15}/y) ?? this.fail();
            if (/[.0-9]/.test(this.text[this.at] ?? ""))
                this.fail();
            return Number(digits);
        }
        return { token: this.match(/[A-Za-z*][!#$%&'*+.^_`|~:/A-Za-z0-9-]*/y) ?? this.fail() };
    }
    parameters() {
        const all = new Map();
        while (this.take(";")) {
            this.skip(" ");
            all.set(this.key(), this.take("=") ? this.bare() : true);
        }
        return all;
    }
    item() {
        if (!this.take("(")) {
            const value = this.bare();
            return { value, parameters: this.parameters() };
        }
        const value = [];
        for (this.skip(" "); !this.take(")"); this.skip(" ")) {
            value.push(this.item());
            if (!" )".includes(this.text[this.at] ?? "x"))
                this.fail();
        }
        return { value, parameters: this.parameters() };
    }
    dictionary() {
        const all = new Map();
        this.skip(" ");
        while (this.at < this.text.length) {
            const key = this.key();
            const item = this.take("=") ? this.item() : { value: true, parameters: this.parameters() };
            all.delete(key);
            all.set(key, item);
            this.skip(" \t");
            if (this.at >= this.text.length)
                break;
            if (!this.take(","))
                this.fail();
            this.skip(" \t");
            if (this.at >= this.text.length)
                this.fail();
        }
        return all;
    }
}
export const dictionary = (text) => new Parser(text).dictionary();
