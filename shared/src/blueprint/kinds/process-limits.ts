/**
 * How much of its host a process may use (`limits`) and is kept (`requests`). Whole numbers in named units: no text
 * such as 1Gi, which two programs read in two ways. A value may be one whole expression, so that a plan decides it.
 */
import { parseTemplate, wholeReference } from "../expression.ts";
import { type Bounds, below, isPlainObject, type PlainObject, type Shape } from "../shape.ts";
import type { SpecPath } from "./kind.ts";

export type ProcessLimits = Readonly<{ cpuMillis?: number; memoryMib?: number; pids?: number }>;
export type ProcessRequests = Readonly<{ cpuMillis?: number; memoryMib?: number }>;

const CPU_MILLIS_MAX = 1_024_000;
const MEMORY_MIB_MAX = 16_777_216;
/** The largest number of processes that Linux has (PID_MAX_LIMIT). */
const PIDS_MAX = 4_194_304;

/** A hundredth of a core is the least that the kernel's bandwidth control keeps to. */
const LIMITS = {
  cpuMillis: { min: 10, max: CPU_MILLIS_MAX },
  memoryMib: { min: 4, max: MEMORY_MIB_MAX },
  pids: { min: 2, max: PIDS_MAX },
} as const satisfies Record<string, Bounds>;
const REQUESTS = {
  cpuMillis: { min: 2, max: CPU_MILLIS_MAX },
  memoryMib: { min: 1, max: MEMORY_MIB_MAX },
} as const satisfies Record<string, Bounds>;

export function readAmounts(
  parent: Shape,
): Readonly<{ limits: ProcessLimits; requests: ProcessRequests }> {
  const limits = readPart(parent, "limits", LIMITS);
  const requests = readPart(parent, "requests", REQUESTS);
  for (const name of ["cpuMillis", "memoryMib"] as const) {
    const most = limits[name];
    const least = requests[name];
    if (most === undefined || least === undefined || least <= most) continue;
    parent.add(below("requests", name), "more than the limit", least, `at most ${most}`);
  }
  return { limits, requests };
}

function readPart<Name extends string>(
  parent: Shape,
  key: string,
  bounds: Readonly<Record<Name, Bounds>>,
): Readonly<Partial<Record<Name, number>>> {
  const shape = parent.object(key);
  const read: Partial<Record<Name, number>> = {};
  if (shape === undefined) return read;
  for (const [name, range] of Object.entries(bounds) as [Name, Bounds][]) {
    if (isOpen(shape.raw(name))) continue;
    const value = shape.integer(name, range);
    if (value !== undefined) read[name] = value;
  }
  shape.finish();
  return read;
}

/** Whether a whole number is wanted there, which an expression may give. */
export function isAmount([part, name, ...deeper]: SpecPath): boolean {
  if (typeof name !== "string" || deeper.length > 0) return false;
  return (
    (part === "limits" && Object.hasOwn(LIMITS, name)) ||
    (part === "requests" && Object.hasOwn(REQUESTS, name))
  );
}

/** Amounts that are not known yet: names of fields whose expression was not rendered. */
export function openAmounts(spec: PlainObject): readonly string[] {
  return ["limits", "requests"].flatMap((part) => {
    const amounts = spec[part];
    if (!isPlainObject(amounts)) return [];
    return Object.entries(amounts).flatMap(([name, value]) =>
      isOpen(value) ? [`${part}.${name}`] : [],
    );
  });
}

function isOpen(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const template = parseTemplate(value);
  return !("problem" in template) && wholeReference(template) !== undefined;
}
