import type { HlsConfig } from "hls.js";
import { Session, type WeirOptions } from "./session.js";
/** Options for hls.js; `own` are yours and win. The session is in them, for whoever wants to look at it. */
export declare function withWeir(options: WeirOptions | Session, own?: Partial<HlsConfig>): Partial<HlsConfig> & {
    weir: Session;
};
