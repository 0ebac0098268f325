/**
 * Faults of simulated agents, as `--fault` names them. Pure.
 *
 * flap=10s    each agent leaves and comes back, about this often
 * forget=60s  each agent loses what it holds and its usage stream, about this often, and reconnects
 * slow=200ms  taking an offer takes this long, and nothing else is read meanwhile
 * fail=10%    this share of the attempts does not get ready
 */
import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

export type Faults = Readonly<{
  flapMs: number;
  forgetMs: number;
  slowMs: number;
  failShare: number;
}>;

export const NO_FAULTS: Faults = { flapMs: 0, forgetMs: 0, slowMs: 0, failShare: 0 };
const NAMES = ["flap", "forget", "slow", "fail"] as const;

/** Throws INVALID_ARGUMENT `FAULT_UNKNOWN` or `FAULT_VALUE`. Of a fault that is named twice the last counts. */
export function parseFaults(given: readonly string[]): Faults {
  const values = new Map(given.map((each) => splitFault(each)));
  const ms = (name: string) => msOf(name, values.get(name));
  return {
    flapMs: ms("flap"),
    forgetMs: ms("forget"),
    slowMs: ms("slow"),
    failShare: shareOf("fail", values.get("fail")),
  };
}

function splitFault(text: string): readonly [string, string] {
  const [name = "", value = ""] = text.split("=", 2);
  if (NAMES.some((each) => each === name)) return [name, value];
  const message = `--fault: got ${shown(name)}; allowed: ${NAMES.join(", ")}`;
  throw new Fault("INVALID_ARGUMENT", "FAULT_UNKNOWN", message);
}

function msOf(name: string, value: string | undefined): number {
  if (value === undefined) return 0;
  const ms = durationMs(value);
  if (ms !== undefined && ms > 0) return ms;
  const message = `--fault ${name}: got ${shown(value)}; allowed: ${DURATION_RULE}, above 0`;
  throw new Fault("INVALID_ARGUMENT", "FAULT_VALUE", message);
}

function shareOf(name: string, value: string | undefined): number {
  if (value === undefined) return 0;
  const share = Number(/^(\d{1,3}(?:\.\d+)?)%$/.exec(value)?.[1] ?? Number.NaN) / 100;
  if (share >= 0 && share <= 1) return share;
  const message = `--fault ${name}: got ${shown(value)}; allowed: 0% to 100%`;
  throw new Fault("INVALID_ARGUMENT", "FAULT_VALUE", message);
}
