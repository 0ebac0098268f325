/** `holdfast-sim fleet`: from options to a running fleet, with one line a second about how it is. */
import { resolve } from "node:path";
import { type ContextFlags, chooseContext } from "@holdfast/cli/src/contexts.ts";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import type { SimEvent } from "../events.ts";
import { parseFaults } from "../faults.ts";
import type { InstanceWish } from "../worker/messages.ts";
import { DEFAULT_PACE, startSimFleet } from "./fleet.ts";
import { offerSimProduct, SIM_PRODUCT } from "./offer.ts";
import { Tally } from "./tally.ts";

const STATUS_LINE_MS = 1_000;

export type FleetFlags = ContextFlags &
  Readonly<{
    hub?: string;
    agents: number;
    processes: number;
    prefix: string;
    state: string;
    fault: readonly string[];
    product?: string;
    release?: string;
    plan?: string;
    environment?: string;
    parameter: readonly string[];
    releaseKey?: string;
    link?: readonly string[];
    readyAfter: number;
    usageEvery: number;
    statusEvery: number;
    keepalive: number;
    connectOver: number;
    duration?: number;
    seed: number;
    json?: boolean;
    verbose?: boolean;
  }>;

/** Until the terminal's signal, or for as long as was asked. */
export async function runFleet(
  terminal: Terminal,
  flags: FleetFlags,
  version: string,
): Promise<void> {
  const api = flags.hub;
  const context = await chooseContext(terminal, { ...flags, ...(api !== undefined && { api }) });
  const faults = parseFaults(flags.fault);
  const wish = wishOf(flags);
  const { err, clock, signal } = terminal;
  if (wish === SIM_PRODUCT && flags.releaseKey !== undefined) {
    await offerSimProduct(terminal, context, flags.releaseKey, version);
  }
  const tally = new Tally(flags.agents);
  const fleet = startSimFleet({
    ...{ context, faults, agents: flags.agents, processes: flags.processes, prefix: flags.prefix },
    ...(wish !== undefined && { wish }),
    ...(flags.link !== undefined && { linkEndpoints: flags.link }),
    stateDir: resolve(terminal.workingDirectory, flags.state),
    seed: flags.seed,
    debug: flags.verbose ?? false,
    pace: {
      readyMs: flags.readyAfter,
      usageMs: flags.usageEvery,
      statusMs: flags.statusEvery,
      keepalive: { ...DEFAULT_PACE.keepalive, keepaliveMs: flags.keepalive },
    },
    onEvent: (event: SimEvent) => {
      tally.count(event);
      if (flags.json) terminal.out(`${JSON.stringify(event)}\n`);
    },
    onProgress: (prepared) => tally.prepared(prepared),
    onLog: (level, message) => {
      if (flags.verbose || level === "error") err(`${level}: ${message}\n`);
    },
  });
  err(`seed ${flags.seed}; ${fleet.pids.length} processes: ${fleet.pids.join(", ")}\n`);
  const ended = new AbortController();
  const lines = statusLines(terminal, tally, AbortSignal.any([signal, ended.signal]));
  try {
    await Promise.race([fleet.prepare(), aborted(signal)]);
    if (signal.aborted) return;
    fleet.connect(flags.connectOver);
    await (flags.duration === undefined ? aborted(signal) : clock.sleep(flags.duration, signal));
  } finally {
    ended.abort();
    await fleet.stop();
    await lines;
    err(`${tally.line()}\n`);
  }
}

/** One line a second, as long as something changes. */
async function statusLines({ clock, err }: Terminal, tally: Tally, signal: AbortSignal) {
  for (let last = ""; !signal.aborted; ) {
    const line = tally.line();
    if (line !== last) err(`${line}\n`);
    last = line;
    await clock.sleep(STATUS_LINE_MS, signal);
  }
}

function wishOf(flags: FleetFlags): InstanceWish | undefined {
  const { product, release, plan, environment } = flags;
  const parameters = Object.fromEntries(flags.parameter.map(parameterOf));
  if (product === undefined) {
    if (flags.releaseKey === undefined) return undefined;
    return flags.parameter.length === 0 ? SIM_PRODUCT : { ...SIM_PRODUCT, parameters };
  }
  return {
    ...{ product, parameters, environment: environment ?? "" },
    release: release ?? "1.0.0",
    plan: plan ?? product,
  };
}

/** NAME=VALUE; numbers and true and false are taken as such. */
function parameterOf(text: string): readonly [string, string | number | boolean] {
  const at = text.indexOf("=");
  const [name, value] = at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
  if (value === "true" || value === "false") return [name, value === "true"];
  return [name, /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value];
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
}
