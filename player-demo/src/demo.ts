// The demo's own interface: what runs where and how it is, and what can be done to it.
//
// Invariant: without a demo behind the page (any edge serves it) everything here is absent and nothing is asked twice.

export type Act = "kill" | "restart" | "pause" | "resume" | "slow" | "corrupt" | "partition" | "heal";

export interface Condition {
  readonly pid: number | null;
  readonly state: "running" | "paused" | "starting" | "killed" | "ended";
  readonly slow: number | null;
  readonly corrupt: boolean;
  readonly partition: boolean;
}

export interface DemoRelay {
  readonly name: string;
  readonly peer: string;
  readonly http: string;
  readonly https: string;
  readonly condition: Condition;
}

export interface Description {
  readonly live?: string;
  readonly film?: string;
  readonly low_latency?: string;
  readonly h3: boolean;
  readonly publisher: string;
  readonly adapter: { readonly http: string };
  readonly relays: readonly DemoRelay[];
  readonly control: { readonly path: string; readonly token: string };
  /** Where the demo, as the platform, gives out session tokens. */
  readonly session?: string;
}

/** The demo behind the page, or nothing. */
export async function describe(): Promise<Description | undefined> {
  // An edge's own player is at a path of its own, and has no demo.
  if (location.pathname.startsWith("/weir/")) return undefined;
  try {
    const answer = await fetch("/api/demo", { cache: "no-store" });
    const isJson = answer.headers.get("content-type")?.startsWith("application/json");
    return answer.ok && isJson ? ((await answer.json()) as Description) : undefined;
  } catch {
    return undefined;
  }
}

/** Does something to a relay; the error says why it could not be done. */
export async function control(demo: Description, relay: string, act: Act, more: { on?: boolean } = {}): Promise<Condition> {
  const answer = await fetch(demo.control.path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Weir-Control": demo.control.token },
    body: JSON.stringify({ relay, do: act, ...more }),
  });
  const said = (await answer.json()) as { condition?: Condition; error?: string };
  if (!answer.ok || !said.condition) throw new Error(said.error ?? `status ${answer.status}`);
  return said.condition;
}

/** A session token that confirms this key, from the demo as the platform. */
export async function sessionToken(demo: Description, jwk: object): Promise<{ token: string; epochMs?: number } | undefined> {
  if (!demo.session) return undefined;
  const answer = await fetch(demo.session, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Weir-Control": demo.control.token },
    body: JSON.stringify({ jwk }),
  });
  if (!answer.ok) return undefined;
  const { token, epoch_ms: epochMs } = (await answer.json()) as { token: string; epoch_ms?: number };
  return epochMs === undefined ? { token } : { token, epochMs };
}
