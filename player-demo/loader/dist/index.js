// The package's face. See ../README.md.
export { withWeir } from "./hls.js";
export { weirShaka } from "./shaka.js";
export { Session } from "./session.js";
export {} from "./pathways.js";
export {} from "./fetcher.js";
export { sessionKey } from "./receipts.js";
export { KeyRing } from "./keys.js";
export { fieldsOf, isBody, verifyRecord } from "./record.js";
