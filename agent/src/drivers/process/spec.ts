/** A process spec as the driver uses it; the pure kind schema judges it and fills in the defaults. */
import { type ProcessSpec, readProcessSpec } from "@holdfast/shared/blueprint/kinds/process.ts";
import { openAmounts } from "@holdfast/shared/blueprint/kinds/process-limits.ts";
import { invalid } from "@holdfast/shared/fault.ts";
import type { JsonObject } from "../driver.ts";

export type { ProcessSpec };

/** A start opens a log, writes secrets and a record, and forks; what takes longer is a stuck disk. */
export const START_MS_MAX = 60_000;
/** Also of a spec that still has references in it. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function specOf(spec: JsonObject): ProcessSpec {
  return readProcessSpec(spec, "spec");
}

/** As specOf, for those who ask about the same spec each second. */
export class ReadSpecs {
  readonly #read = new WeakMap<JsonObject, ProcessSpec>();

  of(spec: JsonObject): ProcessSpec {
    const known = this.#read.get(spec) ?? specOf(spec);
    this.#read.set(spec, known);
    return known;
  }
}

/** Of a spec that is to run: a limit that is not known would be none. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function renderedSpecOf(spec: JsonObject): ProcessSpec {
  const open = openAmounts(spec);
  const message = "an expression that was not rendered; allowed: a whole number";
  const violations = open.map((name) => ({ path: `spec.${name}`, message }));
  if (violations.length > 0) throw invalid("SPEC_INVALID", violations);
  return specOf(spec);
}

/** Name to the fixed port; undefined: a free one for each start. */
export function portsOf({ ports }: ProcessSpec): ReadonlyMap<string, number | undefined> {
  return new Map(Object.entries(ports).map(([name, { fixed }]) => [name, fixed]));
}
