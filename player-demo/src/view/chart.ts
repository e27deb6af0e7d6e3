// Throughput of the last two minutes, stacked by where the bytes came from, with the same figures as a table.
//
// Invariant: the chart and its table are drawn from one list of sums, so they cannot differ.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Segment } from "../measure.js";
import { byId, element, setText, shape } from "./dom.js";

const SPAN_S = 120;
/** One bar; segments of the demo last two seconds, so that a steady stream is a steady height. */
const BAR_S = 4;
const BARS = SPAN_S / BAR_S;
const HEIGHT = 210;

/** A layer of the stack. */
interface Layer { readonly name: string; readonly label: string; readonly colour: string }

let layers: readonly Layer[] = [];
let plot: uPlot | undefined;

export const OTHER_RELAYS = "peers";
export const ORIGIN = "origin";

/** The stack's layers from the bottom: each relay's own store, other relays behind it, the origin. */
export function setLayers(relays: readonly string[], prefix: string): void {
  layers = [
    ...relays.map((name) => ({ name, label: `${prefix}${name}`, colour: `--relay-${["a", "b", "c"].includes(name) ? name : "other"}` })),
    { name: OTHER_RELAYS, label: "relays behind it", colour: "--peers" },
    { name: ORIGIN, label: "origin", colour: "--origin" },
  ];
  byId("legend").replaceChildren(...layers.map(({ name, label, colour }) => {
    const key = element("span", "key", shape(name), label);
    key.style.setProperty("--key", `var(${colour})`);
    return key;
  }));
  build();
}

/** The layer that a segment's bytes belong to. */
export function layerOf({ source, relay }: Segment): string {
  return source === "peer" ? OTHER_RELAYS : source === "origin" ? ORIGIN : relay;
}

const computed = (variable: string): string => {
  const probe = byId("chart");
  probe.style.color = `var(${variable})`;
  const { color } = getComputedStyle(probe);
  probe.style.color = "";
  return color;
};

/** Builds the plot anew: the layers or the colours have changed. */
export function build(): void {
  plot?.destroy();
  const host = byId("chart");
  const [ink, line] = [computed("--soft"), computed("--line")];
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
  plot = new uPlot({
    width: Math.max(200, host.clientWidth), height: HEIGHT, cursor: { show: false }, legend: { show: false },
    padding: [8, 20, 0, 0],
    scales: { x: { time: false, range: [-SPAN_S, 0] }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.15)] } },
    axes: [
      { ...axis, size: 30, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "now" : `${tick} s`)), splits: () => [-120, -90, -60, -30, 0] },
      { ...axis, size: 44, values: (_, ticks) => ticks.map((tick) => String(tick)) },
    ],
    series: [{}, ...[...layers].reverse().map(({ label, colour }) => ({
      label, fill: computed(colour), stroke: computed("--panel"), width: 1, points: { show: false },
      paths: uPlot.paths.bars!({ size: [0.82, 24], align: 1 }),
    }))],
  }, [[], ...layers.map(() => [])] as unknown as uPlot.AlignedData, host);
}

export function resize(): void {
  plot?.setSize({ width: Math.max(200, byId("chart").clientWidth), height: HEIGHT });
}

/** Mbit/s of each layer in each bar, oldest first. */
function sums(segments: readonly Segment[], now: number): number[][] {
  const all = layers.map(() => Array<number>(BARS).fill(0));
  // Bars stand still while time goes on, so that none flickers: the newest one is still filling.
  const newest = Math.floor(now / 1000 / BAR_S);
  for (const segment of segments) {
    const bar = BARS - 1 - (newest - Math.floor(segment.at / 1000 / BAR_S));
    const layer = layers.findIndex(({ name }) => name === layerOf(segment));
    if (bar >= 0 && bar < BARS && layer >= 0) all[layer]![bar]! += (segment.bytes * 8) / BAR_S / 1e6;
  }
  return all;
}

export function drawChart(segments: readonly Segment[], now: number): void {
  const bars = sums(segments, now);
  const offset = (now / 1000) % BAR_S;
  const x = Array.from({ length: BARS }, (_, bar) => (bar - BARS + 1) * BAR_S - offset);
  // A stack is drawn from its top: each series is the sum of its layer and those below.
  const stacked = bars.map((_, layer) => x.map((__, bar) => bars.slice(0, layer + 1).reduce((sum, one) => sum + one[bar]!, 0)));
  const shown = stacked.map((one) => one.map((value) => (value > 0 ? value : null)));
  plot?.setData([x, ...shown.reverse()] as uPlot.AlignedData);
  const totals = layers.map(({ label }, layer) => `${label} ${(bars[layer]!.reduce((sum, one) => sum + one, 0) / BARS).toFixed(1)}`);
  setText(byId("chart-words"), `Average Mbit/s over two minutes: ${totals.join(", ")}.`);
  const table = byId<HTMLTableElement>("chart-table");
  if (table.closest("details")?.open) drawTable(table, bars, x);
}

function drawTable(table: HTMLTableElement, bars: number[][], x: number[]): void {
  const heading = (text: string, className = "n"): HTMLElement => {
    const cell = element("th", className, text);
    cell.scope = "col";
    return cell;
  };
  const rows = x.map((from, bar) => {
    const start = element("th", "", `${Math.round(from)} s`);
    start.scope = "row";
    return element("tr", "", start, ...layers.map((_, layer) => element("td", "n", bars[layer]![bar]!.toFixed(2))));
  });
  table.replaceChildren(
    element("thead", "", element("tr", "", heading("From", ""), ...layers.map(({ label }) => heading(label)))),
    element("tbody", "", ...rows.reverse()));
}
