// The relay cards: how each relay is, what it does for this viewer, and what can be done to it.
//
// Invariant: a card is made once and then only its texts change, so that the keyboard's focus never gets lost.

import type { Act, Condition } from "../demo.js";
import { byId, element, milliseconds, percent, relayName, setText } from "./dom.js";

export interface Card {
  readonly name: string;
  readonly bytes: number;
  readonly segments: number;
  readonly hits: number;
  readonly roundTripMs: number | undefined;
  readonly protocol: string;
  readonly serving: boolean;
  readonly preferred: boolean;
  readonly avoided: string | undefined;
  /** Only a demo's relays have one. */
  readonly condition: Condition | undefined;
}

export interface RelayEvents {
  readonly act: (relay: string, act: Act, on?: boolean) => void;
  readonly prefer: (relay: string) => void;
}

interface Drawn {
  readonly root: HTMLElement;
  readonly state: HTMLElement;
  readonly figures: Record<"round trip" | "hits" | "protocol" | "received", HTMLElement>;
  readonly prefer: HTMLButtonElement;
  readonly buttons: Map<Act, HTMLButtonElement>;
}

const drawn = new Map<string, Drawn>();

const BUTTONS: readonly { readonly act: Act; readonly label: string; readonly title: string }[] = [
  { act: "kill", label: "Kill", title: "End the process at once" },
  { act: "slow", label: "Slow", title: "Send 20 kB a second to all viewers together" },
  { act: "corrupt", label: "Corrupt", title: "Flip a bit in every piece of every segment" },
  { act: "pause", label: "Hang", title: "Let the process stand still: connections stay open and nothing comes" },
  { act: "partition", label: "Cut off", title: "No datagram to or from the adapter and the other relays" },
];

export function drawRelays(cards: readonly Card[], events: RelayEvents): void {
  byId("relays").dataset["choice"] = String(cards.length > 1);
  const host = byId("relays");
  const names = cards.map(({ name }) => name);
  for (const [name, { root }] of drawn) {
    if (!names.includes(name)) {
      root.remove();
      drawn.delete(name);
    }
  }
  for (const card of cards) {
    let known = drawn.get(card.name);
    if (!known) {
      known = make(card, events);
      drawn.set(card.name, known);
      host.append(known.root);
    }
    update(known, card);
  }
}

function make(card: Card, events: RelayEvents): Drawn {
  const state = element("span", "chip", "");
  const figure = (label: string): [HTMLElement, HTMLElement] => {
    const value = element("dd", "", "–");
    return [value, element("div", "", element("dt", "", label), value)];
  };
  const [roundTrip, roundTripBox] = figure("Round trip");
  const [hits, hitsBox] = figure("Hit share");
  const [protocol, protocolBox] = figure("Protocol");
  const [received, receivedBox] = figure("Received");
  const prefer = element("button", "prefer", "Play from here");
  prefer.type = "button";
  prefer.addEventListener("click", () => events.prefer(card.name));
  const buttons = new Map<Act, HTMLButtonElement>();
  const acts = element("div", "acts");
  if (card.condition) {
    for (const { act, label, title } of BUTTONS) {
      const button = element("button", "act", label);
      button.type = "button";
      button.title = title;
      button.dataset["act"] = act;
      button.addEventListener("click", () => events.act(card.name, act));
      buttons.set(act, button);
      acts.append(button);
    }
    const heal = element("button", "act heal", "Heal");
    heal.type = "button";
    heal.dataset["act"] = "heal";
    heal.title = "As it was at the start";
    heal.addEventListener("click", () => events.act(card.name, "heal"));
    buttons.set("heal", heal);
    acts.append(heal);
  }
  const root = element("article", "card",
    element("div", "card-head", element("h3", "", relayName(card.name)), state, prefer),
    element("dl", "figures", roundTripBox, hitsBox, protocolBox, receivedBox), acts);
  root.dataset["relay"] = card.name;
  root.setAttribute("aria-label", `Relay ${card.name}`);
  return { root, state, figures: { "round trip": roundTrip, hits, protocol, received }, prefer, buttons };
}

/** What the chip says, and how grave it is. */
function stateOf({ condition, serving, avoided }: Card): [text: string, tone: "good" | "idle" | "warn" | "bad"] {
  if (condition?.state === "killed") return ["killed", "bad"];
  if (condition?.state === "ended") return ["ended", "bad"];
  if (condition?.state === "starting") return ["starting", "warn"];
  if (condition?.state === "paused") return ["hanging", "bad"];
  const faults = [condition?.slow && "slow", condition?.corrupt && "corrupt", condition?.partition && "cut off"].filter(Boolean);
  if (faults.length > 0) return [faults.join(", "), "warn"];
  if (serving) return ["serving", "good"];
  if (avoided) return [`left: ${avoided}`, "warn"];
  return ["ready", "idle"];
}

function update({ root, state, figures, prefer, buttons }: Drawn, card: Card): void {
  const [text, tone] = stateOf(card);
  setText(state, text);
  state.dataset["tone"] = tone;
  root.dataset["serving"] = String(card.serving);
  setText(figures["round trip"], card.roundTripMs === undefined ? "–" : `${milliseconds(card.roundTripMs)} ms`);
  setText(figures.hits, percent(card.hits, card.segments));
  setText(figures.protocol, card.protocol || "–");
  setText(figures.received, card.bytes ? `${(card.bytes / 1e6).toFixed(1)} MB` : "–");
  prefer.setAttribute("aria-pressed", String(card.preferred));
  setText(prefer, card.preferred ? "Preferred" : "Play from here");
  prefer.setAttribute("aria-label", `${prefer.textContent}: relay ${card.name}`);
  const { condition } = card;
  if (!condition) return;
  const isUp = condition.state === "running";
  const isOn: Partial<Record<Act, boolean>> = {
    slow: condition.slow !== null, corrupt: condition.corrupt, pause: condition.state === "paused", partition: condition.partition,
  };
  for (const [act, button] of buttons) {
    if (act === "heal") {
      button.hidden = isUp && !Object.values(isOn).some(Boolean);
      setText(button, condition.state === "killed" || condition.state === "ended" ? "Restart" : "Heal");
      button.disabled = condition.state === "starting";
      button.setAttribute("aria-label", `${button.textContent} relay ${card.name}`);
      continue;
    }
    const name = `${button.textContent} relay ${card.name}`;
    button.setAttribute("aria-label", name);
    button.disabled = act === "kill" ? !isUp && condition.state !== "paused" : act === "pause" ? !isUp && !isOn.pause : !isUp;
    if (act !== "kill") button.setAttribute("aria-pressed", String(isOn[act] ?? false));
  }
}

/** "relays 87 % · origin 13 %". */
export function drawShare(fromRelays: number, fromOrigin: number): void {
  const all = fromRelays + fromOrigin;
  byId("share").hidden = all === 0;
  if (all === 0) return;
  const share = Math.round((100 * fromRelays) / all);
  setText(byId("share-text"), `relays ${share} % · origin ${100 - share} %`);
  for (const bar of document.querySelectorAll<HTMLElement>(".share-bar i")) {
    bar.style.flexGrow = String(bar.dataset["of"] === "relays" ? fromRelays : fromOrigin);
  }
}
