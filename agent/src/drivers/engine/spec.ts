/** A container spec as the driver uses it; the pure kind schema judges it and fills in the defaults. */
import {
  type ContainerSpec,
  readContainerSpec,
} from "@holdfast/shared/blueprint/kinds/container.ts";
import { openAmounts } from "@holdfast/shared/blueprint/kinds/process-limits.ts";
import { invalid } from "@holdfast/shared/fault.ts";
import type { JsonObject } from "../driver.ts";

export type { ContainerSpec };

/** The image may have to be loaded again, which a slow disk takes minutes for. */
export const START_MS_MAX = 600_000;

/** Also of a spec that still has references in it. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function specOf(spec: JsonObject): ContainerSpec {
  return readContainerSpec(spec, "spec");
}

/** As specOf, for those who ask about the same spec each second. */
export class ReadSpecs {
  readonly #read = new WeakMap<JsonObject, ContainerSpec>();

  of(spec: JsonObject): ContainerSpec {
    const known = this.#read.get(spec) ?? specOf(spec);
    this.#read.set(spec, known);
    return known;
  }
}

/** Of a spec that is to run: a limit that is not known would be none. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function renderedSpecOf(spec: JsonObject): ContainerSpec {
  const message = "an expression that was not rendered; allowed: a whole number";
  const violations = openAmounts(spec).map((name) => ({ path: `spec.${name}`, message }));
  if (violations.length > 0) throw invalid("SPEC_INVALID", violations);
  return specOf(spec);
}

/** Name to the fixed port; undefined: a free one for each start. */
export function portsOf({ ports }: ContainerSpec): ReadonlyMap<string, number | undefined> {
  const published = Object.entries(ports).filter(([, { isPublished }]) => isPublished);
  return new Map(published.map(([name, { fixed }]) => [name, fixed]));
}
