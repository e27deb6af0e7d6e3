// Shaka Player: `weirShaka(shaka, player, { publisher: "pub-…" })` before `player.load(…)`.
//
// Invariant: Shaka appends a segment only after its response filter, and the filter lets through only bytes that the
// publisher signed: those that came, or those of another pathway.

import { FIRST_BYTE_MS, MEDIA_MS, Session, type WeirOptions } from "./session.js";

interface Response {
  uri: string;
  data: ArrayBuffer | ArrayBufferView;
  headers: Record<string, string>;
  status?: number;
  originalRequest: { headers: Record<string, string> };
}
interface Engine { registerResponseFilter(filter: (type: number, response: Response) => Promise<void>): void }
interface Player { getNetworkingEngine(): Engine | null; configure(config: object): boolean }
interface Shaka {
  net: { NetworkingEngine: { RequestType: { SEGMENT: number } } };
  util: { Error: new (severity: number, category: number, code: number, ...data: unknown[]) => Error };
}

/** shaka.util.Error: severity CRITICAL, category NETWORK, code RESPONSE_FILTER_ERROR. */
const REFUSED = [2, 1, 1007] as const;

/** Has Shaka check every segment and sets the fail-over options; returns the session. */
export function weirShaka(shaka: Shaka, player: Player, options: WeirOptions): Session {
  const session = new Session(options);
  const retryParameters = { timeout: FIRST_BYTE_MS, stallTimeout: FIRST_BYTE_MS, connectionTimeout: FIRST_BYTE_MS, maxAttempts: 2, baseDelay: 100 };
  player.configure({ streaming: { retryParameters: { ...retryParameters, timeout: MEDIA_MS } }, manifest: { retryParameters } });
  player.getNetworkingEngine()?.registerResponseFilter(async (type, response) => {
    if (type !== shaka.net.NetworkingEngine.RequestType.SEGMENT || !(await session.verifies())) return;
    try {
      response.data = await checked(session, response);
    } catch (error) {
      throw new shaka.util.Error(...REFUSED, error instanceof Error ? error.message : String(error));
    }
  });
  return session;
}

async function checked(session: Session, { uri, data, headers, status, originalRequest }: Response): Promise<ArrayBuffer> {
  const bytes = ArrayBuffer.isView(data) ? (data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer) : data;
  const wanted = /^bytes=(\d+)-(\d+)$/.exec(originalRequest.headers["Range"] ?? "");
  const range = wanted ? { start: Number(wanted[1]), end: Number(wanted[2]) + 1 } : undefined;
  // A digest is over the whole, so what came of a range cannot be checked by itself: the session cuts it from the whole.
  const failed = range ? undefined : await session.received(uri, status ?? 200, new Headers(headers), bytes, undefined);
  if (!range && !failed) return bytes;
  const signal = AbortSignal.timeout(MEDIA_MS);
  const want = { url: uri, range, firstByteMs: FIRST_BYTE_MS, totalMs: MEDIA_MS, budgetMs: 2000, signal };
  return (await session.media(want, undefined, failed && [failed])).data;
}
