import { Session, type WeirOptions } from "./session.js";
interface Response {
    uri: string;
    data: ArrayBuffer | ArrayBufferView;
    headers: Record<string, string>;
    status?: number;
    originalRequest: {
        headers: Record<string, string>;
    };
}
interface Engine {
    registerResponseFilter(filter: (type: number, response: Response) => Promise<void>): void;
}
interface Player {
    getNetworkingEngine(): Engine | null;
    configure(config: object): boolean;
}
interface Shaka {
    net: {
        NetworkingEngine: {
            RequestType: {
                SEGMENT: number;
            };
        };
    };
    util: {
        Error: new (severity: number, category: number, code: number, ...data: unknown[]) => Error;
    };
}
/** Has Shaka check every segment and sets the fail-over options; returns the session. */
export declare function weirShaka(shaka: Shaka, player: Player, options: WeirOptions): Session;
export {};
