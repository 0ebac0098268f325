/**
 * A blueprint as its author writes it: reads the document, fills in what follows from it (dependencies that
 * expressions imply, dependency order), and refuses it with all its problems at once.
 */
import { create, type JsonObject } from "@bufbuild/protobuf";
import {
  type Blueprint,
  BlueprintSchema,
  GapRule,
  type Meter,
  MeterSchema,
  RecordKind,
  type ResourceTemplate,
} from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { invalid, VIOLATIONS_MAX, type Violation } from "../fault.ts";
import { SECRETS_MAX } from "./bounds.ts";
import {
  ARTEFACTS_MAX,
  checkContent,
  DEPENDENCIES_MAX,
  OUTPUTS_MAX,
  refuseTooLarge,
} from "./check.ts";
import { impliedDependencies } from "./expressions.ts";
import { withFirst } from "./first.ts";
import { orderOf } from "./graph.ts";
import { INSTANCES_MAX } from "./instances.ts";
import { METER_RATE_MAX, METERS_MAX } from "./meters.ts";
import { checkParameterSchema, NO_PARAMETERS } from "./parameters.ts";
import { below, isPlainObject, Shape } from "./shape.ts";

/** An artefact as the author names it; `path` is relative to the document. */
export type ArtefactSource = Readonly<{ name: string; path: string }>;

/** Complete but for the vendor and what is measured of artefacts. */
export type BlueprintDraft = Readonly<{
  blueprint: Omit<Blueprint, "vendorId" | "artefacts">;
  artefacts: readonly ArtefactSource[];
}>;

const TEXT = { pattern: /^[^\0]{1,4000}$/u, allowed: "text of 1 to 4000 characters" };
const RELATIVE_PATH = {
  pattern: /^(?!\/)[^\0]{1,1000}$/,
  allowed: "a path relative to the blueprint's directory",
};
/** More than any limit, so that a list which is too long is told by its own limit. */
const RESOURCES_READ_MAX = 1_000_000;
const NUMBER = { min: 1, max: Number.MAX_SAFE_INTEGER };

/**
 * The draft in a document (as `parseYaml` gives it). Throws INVALID_ARGUMENT `BLUEPRINT_INVALID` with at most 20
 * violations, or RESOURCE_EXHAUSTED `BLUEPRINT_TOO_LARGE`.
 */
export function parseBlueprint(document: unknown): BlueprintDraft {
  const found: Violation[] = [];
  const draft = readDraft(new Shape(document, "", found));
  refuseTooLarge(draft.blueprint);
  const { parameters = NO_PARAMETERS } = draft.blueprint;
  found.push(...checkParameterSchema(parameters, "parameters"));
  found.push(...checkContent({ ...draft.blueprint, artefacts: draft.artefacts }));
  // The second check repeats what is absent; the first has the better words.
  const seen = new Set<string>();
  const distinct = found.filter(({ path }) => !seen.has(path) && seen.add(path));
  if (distinct.length > 0) throw invalid("BLUEPRINT_INVALID", distinct.slice(0, VIOLATIONS_MAX));
  const resources = inOrder(draft.blueprint.resources);
  return { ...draft, blueprint: { ...draft.blueprint, resources } };
}

function readDraft(shape: Shape): BlueprintDraft {
  readHeader(shape);
  const read = shape.list("resources", RESOURCES_READ_MAX, true).map((each, i) => {
    return readResource(shape.item("resources", i, each));
  });
  const resources = withFirst(read);
  const artefacts = shape.list("artefacts", ARTEFACTS_MAX).map((each, i) => {
    const item = shape.item("artefacts", i, each);
    const name = item.text("name", TEXT, true) ?? "";
    const path = item.text("path", RELATIVE_PATH, true) ?? "";
    item.finish();
    return { name, path };
  });
  const blueprint = create(BlueprintSchema, {
    product: shape.text("product", TEXT, true) ?? "",
    version: shape.text("version", TEXT, true) ?? "",
    number: BigInt(shape.integer("number", NUMBER, true) ?? 0),
    description: shape.text("description", TEXT) ?? "",
    parameters: readParameters(shape),
    secrets: readSecrets(shape),
    resources,
    meters: readMeters(shape),
    outputs: readOutputs(shape),
    instances: readInstances(shape),
  });
  shape.finish();
  return { blueprint, artefacts };
}

function readHeader(shape: Shape): void {
  for (const [key, word] of [
    ["apiVersion", "holdfast/v1"],
    ["kind", "Blueprint"],
  ] as const) {
    const given = shape.raw(key);
    if (given !== word) shape.add(key, "not a blueprint", given ?? null, word);
  }
}

type DraftResource = { id: string; kind: string; dependsOn: string[]; spec: JsonObject };

function readResource(item: Shape): DraftResource {
  const id = item.text("id", TEXT, true) ?? "";
  const kind = item.text("kind", TEXT, true) ?? "";
  const given = item.list("dependsOn", DEPENDENCIES_MAX);
  for (const [i, each] of given.entries()) {
    if (typeof each !== "string")
      item.add(below("dependsOn", i), "not text", each, "the id of a resource");
  }
  const spec = item.raw("spec");
  if (!isPlainObject(spec)) item.add("spec", "not a map", spec ?? null, "a map of fields");
  item.finish();
  const fields = (isPlainObject(spec) ? spec : {}) as JsonObject;
  const named = given.filter((each) => typeof each === "string");
  return {
    id,
    kind,
    dependsOn: [...new Set([...named, ...impliedDependencies(fields)])],
    spec: fields,
  };
}

/** Dependencies first. Violations come before, with the places that things have in the document. */
function inOrder(resources: ResourceTemplate[]): ResourceTemplate[] {
  const byId = new Map(resources.map((each) => [each.id, each]));
  const ordering = orderOf(new Map(resources.map(({ id, dependsOn }) => [id, dependsOn])));
  if ("cycle" in ordering) return resources;
  return ordering.order.flatMap((id) => byId.get(id) ?? []);
}

function readInstances(shape: Shape) {
  return shape.list("instances", INSTANCES_MAX).map((each, i) => {
    const item = shape.item("instances", i, each);
    const name = item.text("name", TEXT, true) ?? "";
    const product = item.text("product", TEXT, true) ?? "";
    const description = item.text("description", TEXT) ?? "";
    const given = item.raw("outputs");
    if (!isPlainObject(given)) item.add("outputs", "not a map", given ?? null, "names to types");
    item.finish();
    const outputs = Object.entries(isPlainObject(given) ? given : {});
    const texts = outputs.map(([output, type]) => [output, String(type)] as const);
    return { name, product, description, outputs: Object.fromEntries(texts) };
  });
}

/** The outer object is closed, so that a misspelt parameter is refused instead of ignored. */
function readParameters(shape: Shape): JsonObject {
  const given = shape.raw("parameters");
  if (given === undefined) return NO_PARAMETERS;
  if (!isPlainObject(given)) {
    shape.add("parameters", "not a map", given, "a JSON Schema of an object");
    return NO_PARAMETERS;
  }
  return { ...(given as JsonObject), additionalProperties: false };
}

function readSecrets(shape: Shape): { name: string; description: string }[] {
  return shape.list("secrets", SECRETS_MAX).map((each, i) => {
    const item = shape.item("secrets", i, each);
    const secret = {
      name: item.text("name", TEXT, true) ?? "",
      description: item.text("description", TEXT) ?? "",
    };
    item.finish();
    return secret;
  });
}

function readOutputs(shape: Shape): Record<string, string> {
  const read = shape.entries("outputs", OUTPUTS_MAX).map(([name, value]) => {
    if (typeof value !== "string") shape.add(below("outputs", name), "not text", value, "text");
    return [name, String(value)] as const;
  });
  return Object.fromEntries(read);
}

const RECORD_KINDS = {
  counter: RecordKind.COUNTER,
  window: RecordKind.WINDOW,
  occurrence: RecordKind.OCCURRENCE,
} as const;

function readMeters(shape: Shape): Meter[] {
  return shape.list("meters", METERS_MAX).map((each, i) => {
    const item = shape.item("meters", i, each);
    const kind = item.choice("kind", ["counter", "window", "occurrence"]) ?? "counter";
    const gap = item.choice("gap", ["none", "hold_last"]) ?? "none";
    const rate = { min: 1, max: Number(METER_RATE_MAX) };
    const meter = create(MeterSchema, {
      name: item.text("name", TEXT, true) ?? "",
      unit: item.text("unit", TEXT, true) ?? "",
      kind: RECORD_KINDS[kind],
      gap: gap === "none" ? GapRule.NONE : GapRule.HOLD_LAST,
      maxRatePerSecond: BigInt(item.integer("maxRatePerSecond", rate, true) ?? 0),
      source: readSource(item),
    });
    item.finish();
    return meter;
  });
}

function readSource(item: Shape): Meter["source"] {
  const scrape = item.object("scrape");
  const driver = item.object("driver");
  if (scrape !== undefined && driver !== undefined) {
    item.add("driver", "a second source", "", "scrape or driver, not both");
  }
  const text = (from: Shape, key: string) => from.text(key, TEXT, true) ?? "";
  const scraped = scrape && {
    resource: text(scrape, "resource"),
    port: text(scrape, "port"),
    path: scrape.text("path", TEXT) ?? "/metrics",
    metric: text(scrape, "metric"),
    seatLabel: scrape.text("seatLabel", TEXT) ?? "seat",
    sourceLabel: scrape.text("sourceLabel", TEXT) ?? "source",
  };
  const driven = driver && { resource: text(driver, "resource"), counter: text(driver, "counter") };
  scrape?.finish();
  driver?.finish();
  const source = create(MeterSchema, {
    source: scraped
      ? { case: "scrape", value: scraped }
      : driven
        ? { case: "driver", value: driven }
        : { case: undefined },
  });
  return source.source;
}
