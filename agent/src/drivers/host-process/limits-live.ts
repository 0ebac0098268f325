/**
 * The amounts of a spec as the files of a control group say them, back in the units of the spec: to compare what the
 * kernel keeps now with what was asked for. Pure.
 */
import type { JsonObject, JsonValue } from "../driver.ts";
import type { Controller } from "./cgroup-places.ts";
import { type AmountName, type Amounts, rulesOf } from "./limits.ts";

type Version = 1 | 2;
/** The text of a file of the group; empty where there is none. */
type ReadFile = (file: string) => string;

const KIB = 1_024;
const MIB = KIB * KIB;
const SHARES_PER_CPU = 1_024;
const WEIGHT_MAX = 10_000;
const SHARES_MIN = 2;
const SHARES_MAX = 262_144;
const DECIMALS = 1_000;

const CONTROLLER_OF: Readonly<Record<AmountName, Controller>> = {
  "limits.memoryMib": "memory",
  "limits.cpuMillis": "cpu",
  "limits.pids": "pids",
  "requests.memoryMib": "memory",
  "requests.cpuMillis": "cpu",
};

export function controllerOf(amount: AmountName): Controller {
  return CONTROLLER_OF[amount];
}

/** `none`: the kernel keeps no such amount; undefined: its files do not say. */
export function amountIn(
  amount: AmountName,
  version: Version,
  read: ReadFile,
): number | "none" | undefined {
  switch (amount) {
    case "limits.memoryMib":
      return mibIn(read(version === 2 ? "memory.max" : "memory.limit_in_bytes"));
    case "requests.memoryMib":
      return mibIn(read(version === 2 ? "memory.low" : "memory.soft_limit_in_bytes"));
    case "limits.pids":
      return numberIn(read("pids.max"));
    case "limits.cpuMillis":
      return version === 2
        ? millisIn(...(read("cpu.max").split(" ") as [string, string]))
        : millisIn(read("cpu.cfs_quota_us"), read("cpu.cfs_period_us"));
    case "requests.cpuMillis":
      return version === 2 ? weightedIn(read("cpu.weight")) : sharesIn(read("cpu.shares"));
  }
}

function numberIn(text: string): number | "none" | undefined {
  if (text === "max" || text === "-1") return "none";
  const value = Number(text);
  if (!/^\d+$/.test(text)) return undefined;
  // v1 says the largest number of pages where v2 says `max`.
  return Number.isSafeInteger(value) ? value : "none";
}

function mibIn(text: string): number | "none" | undefined {
  const bytes = numberIn(text);
  return typeof bytes === "number" ? rounded(bytes / MIB) : bytes;
}

function millisIn(quota: string, period = ""): number | "none" | undefined {
  const us = numberIn(quota);
  const of = numberIn(period);
  if (typeof us !== "number" || typeof of !== "number" || of === 0) return us;
  return rounded((us * DECIMALS) / of);
}

function sharesIn(text: string): number | "none" | undefined {
  const shares = numberIn(text);
  return typeof shares === "number" ? Math.round((shares * DECIMALS) / SHARES_PER_CPU) : shares;
}

/** As near as a weight can say it. */
function weightedIn(text: string): number | "none" | undefined {
  const weight = numberIn(text);
  if (typeof weight !== "number") return weight;
  const shares = SHARES_MIN + ((weight - 1) * (SHARES_MAX - SHARES_MIN)) / (WEIGHT_MAX - 1);
  return Math.round((shares * DECIMALS) / SHARES_PER_CPU);
}

function rounded(amount: number): number {
  return Math.round(amount * DECIMALS) / DECIMALS;
}

/** Amounts that the spec asks for and whose group says another one: by path, what was asked for and what is. */
export function otherAmounts(
  amounts: Amounts,
  found: JsonObject,
): readonly Readonly<{ path: AmountName; applied: number; live: JsonValue }>[] {
  return rulesOf(amounts).flatMap((rule) => {
    const path = rule.amount;
    const live = valueAt(found, path);
    const applied = askedFor(amounts, path);
    if (live === undefined || applied === undefined) return [];
    const written = ([1, 2] as const).map((version) => {
      const files = new Map(rule.writes(version).map(([file, value]) => [file, value]));
      return amountIn(path, version, (file) => files.get(file) ?? "");
    });
    return written.includes(live as number | "none") ? [] : [{ path, applied, live }];
  });
}

function askedFor({ limits, requests }: Amounts, amount: AmountName): number | undefined {
  const [group, name = ""] = amount.split(".");
  const from: Readonly<Record<string, number | undefined>> = group === "limits" ? limits : requests;
  return from[name];
}

function valueAt(found: JsonObject, amount: AmountName): JsonValue | undefined {
  const [group = "", name = ""] = amount.split(".");
  const part = found[group] as JsonObject | undefined;
  return part?.[name];
}
