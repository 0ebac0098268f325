/**
 * Judges a blueprint: by its author before signing, and again by the hub and by every agent, since each of them
 * may have been given the bytes by somebody else. Pure; all problems at once.
 */
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { Fault, invalid, VIOLATIONS_MAX, type Violation } from "../fault.ts";
import { ID_PREFIXES } from "../ids.ts";
import { shown, suggestion } from "../text.ts";
import { SECRETS_MAX } from "./bounds.ts";
import type { BlueprintContent, ResourceContent } from "./content.ts";
import { checkExpressions } from "./expressions.ts";
import { checkFirst } from "./first.ts";
import { orderOf } from "./graph.ts";
import { checkInstances } from "./instances.ts";
import { KIND_NAMES, kindRules } from "./kinds/kinds.ts";
import { checkMeters } from "./meters.ts";
import { checkParameterSchema, NO_PARAMETERS } from "./parameters.ts";
import { below } from "./shape.ts";

export const RESOURCES_MAX = 2_000;
/** Resources in the longest chain of dependencies. */
export const DEPENDENCY_DEPTH_MAX = 64;
export const DEPENDENCIES_MAX = 200;
export const ARTEFACTS_MAX = 200;
/** 8 GiB; an artefact is one file of a release. */
export const ARTEFACT_BYTES_MAX = 8 * 1024 ** 3;
export const OUTPUTS_MAX = 100;

const NAME = /^[a-z][a-z0-9-]{0,39}$/;
const NAME_RULE = "a-z, 0-9 and -, at most 40, a letter first";
const PRODUCT = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
const PART = "(0|[1-9][0-9]{0,8})";
const VERSION = new RegExp(`^${PART}\\.${PART}\\.${PART}(-[0-9a-z]+([.-][0-9a-z]+)*)?$`);
const SECRET = /^[a-z][a-z0-9_]{0,62}$/;
const VENDOR_ID = new RegExp(`^${ID_PREFIXES.vendor}_[0-9a-f]{32}$`);
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const MEDIA_TYPE = /^[a-z]+\/[a-z0-9.+-]{1,100}$/;
/** Directories travel as this and are unpacked by the agent. */
export const TAR_MEDIA_TYPE = "application/x-tar";
/** A release is called product-version, and names have at most this many characters. */
const RELEASE_NAME_CHARS_MAX = 63;

const DIRECTORY = { field: "artefact", is: "directory" } as const;

export type CheckOptions = Readonly<{
  /** `skip` for who never evaluates it, such as an agent: it takes ten times as long as all the rest. */
  parameterSchema?: "check" | "skip";
}>;

/** All that is wrong with a compiled blueprint; empty if it may be signed, stored and applied. */
export function checkBlueprint(
  blueprint: Blueprint,
  { parameterSchema = "check" }: CheckOptions = {},
): readonly Violation[] {
  const tooLarge = checkSize(blueprint);
  if (tooLarge.length > 0) return tooLarge;
  const found = [...checkIdentity(blueprint), ...checkContent(blueprint)];
  if (parameterSchema === "check") {
    found.push(...checkParameterSchema(blueprint.parameters ?? NO_PARAMETERS, "parameters"));
  }
  const placed = new Set<string>();
  for (const [i, { id, dependsOn }] of blueprint.resources.entries()) {
    const late = dependsOn.find((each) => !placed.has(each));
    if (late !== undefined && found.length === 0) {
      const message = `got ${shown(late)} which comes later; allowed: dependency order`;
      found.push({ path: below(below("resources", i), "dependsOn"), message });
    }
    placed.add(id);
  }
  return found.slice(0, VIOLATIONS_MAX);
}

/**
 * Throws INVALID_ARGUMENT `BLUEPRINT_INVALID` with what `checkBlueprint` finds, or RESOURCE_EXHAUSTED
 * `BLUEPRINT_TOO_LARGE` if it is only too large.
 */
export function refuseUnsound(blueprint: Blueprint, options?: CheckOptions): void {
  refuseTooLarge(blueprint);
  const found = checkBlueprint(blueprint, options);
  if (found.length > 0) throw invalid("BLUEPRINT_INVALID", found);
}

/** Throws RESOURCE_EXHAUSTED `BLUEPRINT_TOO_LARGE`. */
export function refuseTooLarge(content: Pick<BlueprintContent, "resources">): void {
  const violations = checkSize(content);
  const [first] = violations;
  if (first === undefined) return;
  const message = `${first.path}: ${first.message}`;
  throw new Fault("RESOURCE_EXHAUSTED", "BLUEPRINT_TOO_LARGE", message, { violations });
}

function checkSize({ resources }: Pick<BlueprintContent, "resources">): readonly Violation[] {
  if (resources.length > RESOURCES_MAX) {
    const message = `${resources.length} resources are too many; limit ${RESOURCES_MAX}`;
    return [{ path: "resources", message }];
  }
  const ordering = orderOf(needsOf(resources));
  if ("cycle" in ordering || ordering.depth <= DEPENDENCY_DEPTH_MAX) return [];
  const message = `a chain of ${ordering.depth} dependencies is too long; limit ${DEPENDENCY_DEPTH_MAX}`;
  return [{ path: "resources", message }];
}

function checkIdentity(blueprint: Blueprint): Violation[] {
  const found: Violation[] = [];
  if (!VENDOR_ID.test(blueprint.vendorId)) {
    const message = `got ${shown(blueprint.vendorId)}; allowed: ven_ and 32 lower-case hex digits`;
    found.push({ path: "vendorId", message });
  }
  for (const [i, { digest, size, mediaType }] of blueprint.artefacts.entries()) {
    const path = below("artefacts", i);
    const wrong = (field: string, value: unknown, allowed: string) =>
      found.push({ path: below(path, field), message: `got ${shown(value)}; allowed: ${allowed}` });
    if (!DIGEST.test(digest)) wrong("digest", digest, "sha256: and 64 lower-case hex digits");
    if (size > BigInt(ARTEFACT_BYTES_MAX))
      wrong("size", String(size), `at most ${ARTEFACT_BYTES_MAX}`);
    if (!MEDIA_TYPE.test(mediaType)) wrong("mediaType", mediaType, "a media type");
  }
  for (const [i, { kind, spec }] of blueprint.resources.entries()) {
    const rules = kindRules(kind);
    const { field, is } = rules?.artefactForm?.(spec ?? {}) ?? DIRECTORY;
    for (const name of rules?.artefactsOf(spec ?? {}) ?? []) {
      const artefact = blueprint.artefacts.find((each) => each.name === name);
      if (artefact === undefined) continue;
      const isDirectory = artefact.mediaType === TAR_MEDIA_TYPE;
      if (isDirectory === (is === "directory")) continue;
      const message = isDirectory
        ? `${shown(name)} is a directory; allowed: an artefact made from a single file`
        : `${shown(name)} is a single file; allowed: an artefact made from a directory`;
      found.push({ path: `${below("resources", i)}.spec.${field}`, message });
    }
  }
  return found;
}

/** What is judged alike in a draft and in the message, but for the schema of the parameters. */
export function checkContent(content: BlueprintContent): Violation[] {
  return [
    ...checkHead(content),
    ...checkNames(content),
    ...content.resources.flatMap((each, i) => checkResource(each, below("resources", i), content)),
    ...checkGraph(content.resources),
    ...checkFirst(content.resources),
    ...checkPorts(content.resources),
    ...checkPaths(content.resources),
    ...checkInstances(content.instances),
    ...checkExpressions(content),
    ...checkMeters(content.meters, content.resources),
  ].slice(0, VIOLATIONS_MAX);
}

function checkHead({ product, version, number, description }: BlueprintContent): Violation[] {
  const found: Violation[] = [];
  const wrong = (path: string, value: unknown, allowed: string) =>
    found.push({ path, message: `got ${shown(value)}; allowed: ${allowed}` });
  if (!PRODUCT.test(product)) wrong("product", product, "a-z, 0-9 and -, at most 40");
  if (!VERSION.test(version)) {
    wrong("version", version, "MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0-rc.1, in lower case");
  }
  if (product.length + 1 + version.length > RELEASE_NAME_CHARS_MAX) {
    wrong(
      "version",
      version,
      `product and version have at most ${RELEASE_NAME_CHARS_MAX - 1} in all`,
    );
  }
  if (number < 1n || number > 2n ** 53n) {
    wrong("number", String(number), "a whole number from 1, larger with each release");
  }
  if (description.length > 4000) wrong("description", description, "at most 4000 characters");
  return found;
}

function checkNames(content: BlueprintContent): readonly Violation[] {
  const lists = [
    { path: "secrets", names: content.secrets, pattern: SECRET, max: SECRETS_MAX },
    { path: "artefacts", names: content.artefacts, pattern: NAME, max: ARTEFACTS_MAX },
  ];
  const outputs = Object.keys(content.outputs);
  const found = lists.flatMap(({ path, names, pattern, max }) =>
    checkNameList(
      path,
      names.map(({ name }) => name),
      pattern,
      max,
    ),
  );
  if (outputs.length > OUTPUTS_MAX) {
    found.push({
      path: "outputs",
      message: `${outputs.length} are too many; allowed: ${OUTPUTS_MAX}`,
    });
  }
  for (const name of outputs.filter((each) => !/^[A-Za-z][A-Za-z0-9_]{0,62}$/.test(each))) {
    const message = "not a name; allowed: letters, digits and _, at most 63, a letter first";
    found.push({ path: below("outputs", name), message });
  }
  return found;
}

function checkNameList(
  path: string,
  names: readonly string[],
  pattern: RegExp,
  max: number,
): Violation[] {
  if (names.length > max) {
    return [{ path, message: `${names.length} are too many; allowed: ${max}` }];
  }
  return names.flatMap((name, i) => {
    const at = below(below(path, i), "name");
    if (!pattern.test(name)) {
      return [{ path: at, message: `got ${shown(name)}; allowed: ${pattern.source}` }];
    }
    return names.indexOf(name) < i ? [{ path: at, message: `${shown(name)} is there twice` }] : [];
  });
}

function checkResource(
  { id, kind, spec = {} }: ResourceContent,
  path: string,
  { artefacts }: BlueprintContent,
): readonly Violation[] {
  const found: Violation[] = [];
  if (!NAME.test(id)) {
    found.push({ path: below(path, "id"), message: `got ${shown(id)}; allowed: ${NAME_RULE}` });
  }
  const rules = kindRules(kind);
  if (rules === undefined) {
    const near = suggestion(kind, KIND_NAMES);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    const message = `got ${shown(kind)}; allowed: ${KIND_NAMES.join(", ")}${hint}`;
    return [...found, { path: below(path, "kind"), message }];
  }
  found.push(...rules.check(spec, below(path, "spec")));
  for (const name of rules.artefactsOf(spec)) {
    if (artefacts.some((each) => each.name === name)) continue;
    const known = artefacts.map((each) => each.name).join(", ") || "none is declared";
    const { field } = rules.artefactForm?.(spec) ?? DIRECTORY;
    found.push({ path: `${path}.spec.${field}`, message: `got ${shown(name)}; allowed: ${known}` });
  }
  return found;
}

function needsOf(resources: readonly ResourceContent[]): ReadonlyMap<string, readonly string[]> {
  return new Map(resources.map(({ id, dependsOn }) => [id, dependsOn]));
}

function checkGraph(resources: readonly ResourceContent[]): readonly Violation[] {
  const found: Violation[] = [];
  if (resources.length === 0) found.push({ path: "resources", message: "required: at least one" });
  const ids = resources.map(({ id }) => id);
  const seen = new Set<string>();
  for (const [i, { id, dependsOn }] of resources.entries()) {
    const path = below("resources", i);
    if (seen.has(id))
      found.push({ path: below(path, "id"), message: `${shown(id)} is there twice` });
    seen.add(id);
    if (dependsOn.length > DEPENDENCIES_MAX) {
      const message = `${dependsOn.length} are too many; allowed: ${DEPENDENCIES_MAX}`;
      found.push({ path: below(path, "dependsOn"), message });
    }
    for (const each of dependsOn.filter((needed) => !ids.includes(needed))) {
      const near = suggestion(each, ids);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      const message = `got ${shown(each)}; there is no such resource${hint}`;
      found.push({ path: below(path, "dependsOn"), message });
    }
  }
  const ordering = orderOf(needsOf(resources));
  if ("cycle" in ordering) {
    found.push({ path: "resources", message: `cycle: ${ordering.cycle.map(shown).join(" -> ")}` });
  }
  return found;
}

function checkPorts(resources: readonly ResourceContent[]): readonly Violation[] {
  const holders = new Map<number, string>();
  return resources.flatMap(({ id, kind, spec = {} }, i) =>
    (kindRules(kind)?.fixedPortsOf(spec) ?? []).flatMap(({ name, port }) => {
      const holder = holders.get(port);
      holders.set(port, holder ?? id);
      if (holder === undefined || holder === id) return [];
      const path = `${below("resources", i)}.spec.ports.${name}.fixed`;
      return [{ path, message: `got ${port}, which ${shown(holder)} has already` }];
    }),
  );
}

/** Two resources that write one file would take it from each other for ever. */
function checkPaths(resources: readonly ResourceContent[]): readonly Violation[] {
  const holders = new Map<string, string>();
  return resources.flatMap(({ id, kind, spec = {} }, i) =>
    (kindRules(kind)?.pathsOf?.(spec) ?? []).flatMap((path) => {
      const holder = holders.get(path);
      holders.set(path, holder ?? id);
      if (holder === undefined || holder === id) return [];
      const message = `got ${shown(path)}, which ${shown(holder)} has already`;
      return [{ path: `${below("resources", i)}.spec.path`, message }];
    }),
  );
}
