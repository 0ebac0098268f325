/**
 * What a bad network does to those who talk over it, and how it is written: the same words as options, as orders to a
 * running proxy, and in what it says. Pure.
 */
import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

export type Conditions = Readonly<{
  /** Each way. */
  delayMs: number;
  /** At most this much more, by chance. */
  jitterMs: number;
  /** Share of the pieces that come late by a retransmission: what TCP makes of a lost packet. */
  lossShare: number;
  /** Bytes a second each way, of all connections together; 0: no bound. */
  bytesPerSecond: number;
  /** Nothing passes and nobody is told, so that only keepalive can notice; connections are accepted all the same. */
  halfOpen: boolean;
  /** A cut is told by a reset at once, rather than by silence. */
  reset: boolean;
  /** 0: no cuts by themselves. */
  cutEveryMs: number;
  cutForMs: number;
}>;

export const CLEAR: Conditions = {
  delayMs: 0,
  jitterMs: 0,
  lossShare: 0,
  bytesPerSecond: 0,
  halfOpen: false,
  reset: false,
  cutEveryMs: 0,
  cutForMs: 0,
};

/** What TCP waits at least before it sends a lost packet again (Linux: TCP_RTO_MIN). */
const RETRANSMIT_MS_MIN = 200;

/** Until a piece arrives, but for the bandwidth. Two numbers of chance, each in [0, 1). */
export function latenessMs(conditions: Conditions, chances: readonly [number, number]): number {
  const { delayMs, jitterMs, lossShare } = conditions;
  const [jitter, loss] = chances;
  const retransmitMs = loss < lossShare ? Math.max(RETRANSMIT_MS_MIN, 2 * delayMs) : 0;
  return delayMs + jitter * jitterMs + retransmitMs;
}

/** An order to a running proxy. */
export type Order =
  | Readonly<{ kind: "set"; change: Partial<Conditions> }>
  /** Everything as if there were no proxy. */
  | Readonly<{ kind: "clear" }>
  /** One cut, now. */
  | Readonly<{ kind: "cut"; forMs: number }>
  /** All connections end with a reset, now. */
  | Readonly<{ kind: "drop" }>
  | Readonly<{ kind: "status" }>;

export const ORDERS_HELP =
  "delay=50ms, jitter=20ms, loss=1%, bandwidth=64KiB, half-open=on, reset=on, cut=5s, " +
  "cuts=every=30s,for=5s, drop, clear, status";

/** One word of an order line. Throws INVALID_ARGUMENT `ORDER_UNKNOWN` or `ORDER_VALUE`. */
export function parseOrder(text: string): Order {
  const at = text.indexOf("=");
  const [name, value] = at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
  const set = (change: Partial<Conditions>): Order => ({ kind: "set", change });
  switch (name) {
    case "delay":
      return set({ delayMs: msOf(name, value) });
    case "jitter":
      return set({ jitterMs: msOf(name, value) });
    case "loss":
      return set({ lossShare: shareOf(name, value) });
    case "bandwidth":
      return set({ bytesPerSecond: bytesOf(name, value) });
    case "half-open":
      return set({ halfOpen: switchOf(name, value) });
    case "reset":
      return set({ reset: switchOf(name, value) });
    case "cuts":
      return set(cutsOf(value));
    case "cut":
      return { kind: "cut", forMs: msOf(name, value) };
    case "drop":
    case "clear":
    case "status":
      return { kind: name };
    default:
      throw new Fault(
        "INVALID_ARGUMENT",
        "ORDER_UNKNOWN",
        `got ${shown(name)}; allowed: ${ORDERS_HELP}`,
      );
  }
}

/** `every=30s,for=5s`; `off` for none. */
export function cutsOf(text: string): Pick<Conditions, "cutEveryMs" | "cutForMs"> {
  if (text === "off") return { cutEveryMs: 0, cutForMs: 0 };
  const found = /^every=([^,]+),for=([^,]+)$/.exec(text);
  if (found === null) throw refused("cut", text, "every=TIME,for=TIME, or off");
  const [, every = "", length = ""] = found;
  const cuts = { cutEveryMs: msOf("cut every", every), cutForMs: msOf("cut for", length) };
  if (cuts.cutEveryMs > cuts.cutForMs && cuts.cutForMs > 0) return cuts;
  throw refused("cut", text, "a time between cuts that is longer than the cut itself");
}

export function msOf(name: string, value: string): number {
  const ms = durationMs(value);
  if (ms === undefined) throw refused(name, value, DURATION_RULE);
  return ms;
}

export function shareOf(name: string, value: string): number {
  const share = Number(/^(\d{1,3}(?:\.\d+)?)%$/.exec(value)?.[1] ?? Number.NaN) / 100;
  if (share >= 0 && share <= 1) return share;
  throw refused(name, value, "0% to 100%");
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["KiB", 1_024],
  ["MiB", 1_048_576],
]);

/** Bytes a second. */
export function bytesOf(name: string, value: string): number {
  const found = /^(\d{1,9})(KiB|MiB)?$/.exec(value);
  const unit = UNITS.get(found?.[2] ?? "");
  if (found === null || unit === undefined) {
    throw refused(name, value, "bytes a second, such as 64KiB or 1MiB; 0 for no bound");
  }
  return Number(found[1]) * unit;
}

function switchOf(name: string, value: string): boolean {
  if (value === "on" || value === "off") return value === "on";
  throw refused(name, value, "on or off");
}

function refused(name: string, value: string, rule: string): Fault {
  const message = `${name}: got ${shown(value)}; allowed: ${rule}`;
  return new Fault("INVALID_ARGUMENT", "ORDER_VALUE", message);
}

/** One line for people. */
export function describeConditions(conditions: Conditions): string {
  const { delayMs, jitterMs, lossShare, bytesPerSecond, halfOpen, reset } = conditions;
  const { cutEveryMs, cutForMs } = conditions;
  const words = [
    delayMs > 0 && `delay ${delayMs} ms`,
    jitterMs > 0 && `jitter ${jitterMs} ms`,
    lossShare > 0 && `loss ${Number((lossShare * 100).toFixed(2))} %`,
    bytesPerSecond > 0 && `bandwidth ${bytesPerSecond} B/s`,
    cutEveryMs > 0 && `cut every ${cutEveryMs} ms for ${cutForMs} ms`,
    reset && "cuts by reset",
    halfOpen && "half-open",
  ].filter((word) => word !== false);
  return words.length === 0 ? "clear" : words.join(", ");
}
