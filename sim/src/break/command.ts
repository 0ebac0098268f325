/** `holdfast-sim break`: a proxy until Ctrl-C, which takes one order a line. */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import { asFault } from "@holdfast/shared/fault.ts";
import { type Conditions, type Order, parseOrder } from "./conditions.ts";
import { type Address, startProxy } from "./proxy.ts";

/** A longer order is not one. */
const LINE_CHARS_MAX = 1_000;

export type BreakFlags = Readonly<{
  listen: Address;
  to: Address;
  /** Conditions as orders. */
  delay?: string;
  jitter?: string;
  loss?: string;
  bandwidth?: string;
  cut?: string;
  reset?: boolean;
  halfOpen?: boolean;
  seed: number;
}>;

export async function runBreak(
  terminal: Terminal,
  flags: BreakFlags,
  lines: Readable,
): Promise<void> {
  const { clock, signal, out, err } = terminal;
  const startedAt = clock.monotonic();
  const say = (line: string) => {
    const seconds = ((clock.monotonic() - startedAt) / 1_000).toFixed(3);
    out(`${seconds.padStart(9)}s  ${line}\n`);
  };
  const { listen, to, seed } = flags;
  const conditions = conditionsOf(flags);
  const proxy = await startProxy({ listen, to: () => to, conditions, seed, clock, say });
  const orders = createInterface({ input: lines });
  orders.on("line", (line) => {
    try {
      for (const order of ordersOf(line)) proxy.order(order);
    } catch (error) {
      err(`error: ${asFault(error, "not an order").message}\n`);
    }
  });
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  orders.close();
  await proxy.stop();
}

/** All of a line or nothing of it. */
function ordersOf(line: string): readonly Order[] {
  const words = line.slice(0, LINE_CHARS_MAX).split(/\s+/);
  return words.filter((word) => word !== "").map(parseOrder);
}

function conditionsOf(flags: BreakFlags): Partial<Conditions> {
  const { delay, jitter, loss, bandwidth, cut } = flags;
  const given = [delay, jitter, loss, bandwidth, cut].filter((each) => each !== undefined);
  const changes = given
    .map(parseOrder)
    .flatMap((each) => (each.kind === "set" ? [each.change] : []));
  const { reset = false, halfOpen = false } = flags;
  return Object.assign({ reset, halfOpen }, ...changes);
}
