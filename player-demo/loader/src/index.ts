// The package's face. See ../README.md.

export { withWeir } from "./hls.js";
export { weirShaka } from "./shaka.js";
export { Session, type MediaReport, type WeirOptions } from "./session.js";
export { type Pathway, type Pathways, type Reason } from "./pathways.js";
export { type Attempt } from "./fetcher.js";
export { sessionKey, type ReceiptOptions, type SessionKey } from "./receipts.js";
export { KeyRing } from "./keys.js";
export { fieldsOf, isBody, verifyRecord, type RecordFields, type Verified } from "./record.js";
