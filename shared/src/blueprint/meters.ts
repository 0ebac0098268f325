/** The meters of a release: refused unless their counts last for 100 years and their source can exist. */
import { GapRule, type Meter, RecordKind } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Violation } from "../fault.ts";
import { shown } from "../text.ts";
import type { ResourceContent } from "./content.ts";
import { kindRules } from "./kinds/kinds.ts";
import { below } from "./shape.ts";

export const METERS_MAX = 100;
/** 100 Julian years in seconds. */
const METER_LIFE_S = 3_155_760_000n;
/** Counters are kept in 63 bits, which every database has. */
const COUNTER_MAX = 2n ** 63n - 1n;
/** A counter at this rate reaches its end after 100 years. */
export const METER_RATE_MAX = COUNTER_MAX / METER_LIFE_S;

const NAME = /^[a-z][a-z0-9_]{0,62}$/;
const NAME_RULE = "a-z, 0-9 and _, at most 63, a letter first";
const METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]{0,62}$/;
const PATH = /^\/(?!\/)[\x21-\x5b\x5d-\x7e]{0,1023}$/;

/** All that is wrong with the meters. */
export function checkMeters(
  meters: readonly Meter[],
  resources: readonly ResourceContent[],
): readonly Violation[] {
  const found: Violation[] = [];
  if (meters.length > METERS_MAX) {
    found.push({
      path: "meters",
      message: `${meters.length} are too many; allowed: ${METERS_MAX}`,
    });
    return found;
  }
  const names = new Set<string>();
  for (const [i, meter] of meters.entries()) {
    const path = below("meters", i);
    if (names.has(meter.name)) {
      found.push({ path: below(path, "name"), message: `${shown(meter.name)} is there twice` });
    }
    names.add(meter.name);
    found.push(...checkMeter(meter, path), ...checkSource(meter, path, resources));
  }
  return found;
}

function checkMeter(meter: Meter, path: string): readonly Violation[] {
  const found: Violation[] = [];
  const wrong = (field: string, message: string) =>
    found.push({ path: below(path, field), message });
  for (const field of ["name", "unit"] as const) {
    if (!NAME.test(meter[field])) wrong(field, `got ${shown(meter[field])}; allowed: ${NAME_RULE}`);
  }
  if (meter.kind === RecordKind.UNSPECIFIED || RecordKind[meter.kind] === undefined) {
    wrong("kind", "required; allowed: counter");
  } else if (meter.kind !== RecordKind.COUNTER) {
    wrong("kind", "a driver and a scraped metric give counters; allowed: counter");
  }
  if (GapRule[meter.gap] === undefined) wrong("gap", "allowed: none, hold_last");
  if (meter.maxRatePerSecond < 1n || meter.maxRatePerSecond > METER_RATE_MAX) {
    const why = "so that a count lasts 100 years in 63 bits; take a larger unit";
    wrong(
      "maxRatePerSecond",
      `got ${meter.maxRatePerSecond}; allowed: 1 to ${METER_RATE_MAX}, ${why}`,
    );
  }
  return found;
}

function checkSource(
  { source }: Meter,
  path: string,
  resources: readonly ResourceContent[],
): readonly Violation[] {
  if (source.case === undefined) {
    return [{ path, message: "required: one source, scrape or driver" }];
  }
  const at = below(path, source.case);
  const found: Violation[] = [];
  const wrong = (field: string, value: string, allowed: string) =>
    found.push({ path: below(at, field), message: `got ${shown(value)}; allowed: ${allowed}` });
  const resource = resources.find(({ id }) => id === source.value.resource);
  const rules = resource && kindRules(resource.kind);
  if (resource === undefined) {
    wrong(
      "resource",
      source.value.resource,
      resources.map(({ id }) => id).join(", ") || "a resource",
    );
  }
  if (source.case === "driver") {
    const { counter } = source.value;
    if (rules && !rules.counters.includes(counter)) {
      wrong("counter", counter, rules.counters.join(", "));
    }
    return found;
  }
  const { port, path: httpPath, metric, seatLabel, sourceLabel } = source.value;
  const ports = (rules && resource && rules.portsOf(resource.spec ?? {})) ?? [];
  if (rules && !ports.includes(port)) wrong("port", port, ports.join(", ") || "a declared port");
  if (!PATH.test(httpPath)) wrong("path", httpPath, "a path that begins with one /");
  if (!METRIC.test(metric)) wrong("metric", metric, "the name of a Prometheus metric");
  if (!LABEL.test(seatLabel)) wrong("seatLabel", seatLabel, "the name of a label");
  if (!LABEL.test(sourceLabel)) wrong("sourceLabel", sourceLabel, "the name of a label");
  return found;
}
