/**
 * The parameters of a release: a JSON Schema (2020-12) that is judged when the release is published, and values
 * that are judged when an instance is changed. Refuses remote references, recursion, defaults against their own
 * rule, and patterns that are not regular: the pattern engine is linear in the text, whatever the pattern.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { RE2JS } from "re2js";
import { invalid, type Violation } from "../fault.ts";
import { shown, suggestion } from "../text.ts";
import { orderOf } from "./graph.ts";
import { below, isPlainObject, type PlainObject } from "./shape.ts";

export const PARAMETERS_MAX = 200;
export const PATTERN_CHARS_MAX = 200;
export const SCHEMA_CHARS_MAX = 65_536;
export const SCHEMA_DEPTH_MAX = 20;
/** Of all values of one instance, as JSON. */
export const PARAMETER_CHARS_MAX = 262_144;

const PARAMETER_NAME = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const LOCAL_REFERENCE = /^#\/\$defs\/([A-Za-z][A-Za-z0-9_-]{0,62})$/;
/** Keywords that name a schema from outside, or from a place that is only known while validating. */
const FOREIGN_KEYWORDS = ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"];
const DIALECT = "https://json-schema.org/draft/2020-12/schema";

/** What a plan says about parameters; a `PlanSpec` fits. */
export type PlanParameters = Readonly<{
  parameters?: JsonObject | undefined;
  lockedParameters: readonly string[];
}>;

/** All that is wrong with the schema itself. */
export function checkParameterSchema(schema: unknown, path: string): readonly Violation[] {
  if (!isPlainObject(schema)) return [{ path, message: "not a map; allowed: a JSON Schema" }];
  const found: Violation[] = [];
  const size = JSON.stringify(schema).length;
  if (size > SCHEMA_CHARS_MAX) {
    return [{ path, message: `${size} characters are too many; allowed: ${SCHEMA_CHARS_MAX}` }];
  }
  if (schema["type"] !== "object") {
    const message = `got ${shown(schema["type"] ?? null)}; allowed: object`;
    found.push({ path: below(path, "type"), message });
  }
  const properties = isPlainObject(schema["properties"]) ? schema["properties"] : {};
  const names = Object.keys(properties);
  if (names.length > PARAMETERS_MAX) {
    const message = `${names.length} parameters are too many; allowed: ${PARAMETERS_MAX}`;
    found.push({ path: below(path, "properties"), message });
  }
  for (const name of names.filter((each) => !PARAMETER_NAME.test(each))) {
    const message =
      "not a parameter name; allowed: letters, digits and _, at most 63, a letter first";
    found.push({ path: below(below(path, "properties"), name), message });
  }
  found.push(...checkKeywords(schema, path, 0), ...checkDefinitions(schema, path));
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  for (const [i, name] of required.entries()) {
    if (names.includes(name)) continue;
    const near = suggestion(String(name), names);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    const message = `${shown(name)} is no parameter, so nobody could give it${hint}`;
    found.push({ path: below(below(path, "required"), i), message });
  }
  if (found.length > 0) return found;
  const broken = checkDialect(schema, path);
  if (broken.length > 0) return broken;
  const compiled = compileSchema(schema, path, false);
  return "problem" in compiled ? [compiled.problem] : checkDefaults(schema, schema, path);
}

function checkKeywords(value: unknown, path: string, depth: number): readonly Violation[] {
  if (depth > SCHEMA_DEPTH_MAX * 2) {
    return [{ path, message: `nested too deeply; allowed: ${SCHEMA_DEPTH_MAX} levels` }];
  }
  if (Array.isArray(value)) {
    return value.flatMap((each, i) => checkKeywords(each, below(path, i), depth + 1));
  }
  if (!isPlainObject(value)) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const at = below(path, key);
    const problem = keywordProblem(key, child);
    if (problem !== undefined) return [{ path: at, message: problem }];
    return checkKeywords(child, at, depth + 1);
  });
}

function keywordProblem(key: string, value: unknown): string | undefined {
  if (FOREIGN_KEYWORDS.includes(key) && typeof value === "string") return "is not allowed here";
  if (key === "$schema" && value !== DIALECT) return `got ${shown(value)}; allowed: ${DIALECT}`;
  if (key === "$ref" && typeof value === "string" && !LOCAL_REFERENCE.test(value)) {
    return `got ${shown(value)}; allowed: #/$defs/NAME`;
  }
  return key === "pattern" && typeof value === "string" ? patternProblem(value) : undefined;
}

function patternProblem(pattern: string): string | undefined {
  if (pattern.length > PATTERN_CHARS_MAX) {
    return `${pattern.length} characters are too many; allowed: ${PATTERN_CHARS_MAX}`;
  }
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch {
    const rule = "a regular expression without look-around and back references";
    return `got ${shown(pattern)}; allowed: ${rule}`;
  }
}

function checkDefinitions(schema: PlainObject, path: string): Violation[] {
  const definitions = isPlainObject(schema["$defs"]) ? schema["$defs"] : {};
  const needs = new Map(
    Object.entries(definitions).map(([name, each]) => [name, [...referencesIn(each)]] as const),
  );
  const ordering = orderOf(needs);
  if (!("cycle" in ordering)) return [];
  const cycle = ordering.cycle.join(" -> ");
  return [{ path: below(path, "$defs"), message: `recursion is not allowed; cycle: ${cycle}` }];
}

function* referencesIn(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    const name = key === "$ref" ? LOCAL_REFERENCE.exec(String(child))?.[1] : undefined;
    if (name !== undefined) yield name;
    yield* referencesIn(child);
  }
}

/** `u` is what JSON Schema asks for; RE2JS works on code points anyway. */
const regularExpression = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(pattern);
    return { test: (text: string) => compiled.matcher(text).find() };
  },
  { code: "regularExpression" },
);

/**
 * Judges schemas by the schema of JSON Schema. One for all, since making it takes 40 ms; it keeps nothing of what
 * it judges.
 */
const DIALECT_JUDGE = new Ajv2020({ allErrors: true, strict: false, verbose: true, logger: false });

/** Violations of the dialect with their places; the judge names some of them twice. */
function checkDialect(schema: PlainObject, path: string): readonly Violation[] {
  if (DIALECT_JUDGE.validateSchema({ ...schema }) === true) return [];
  const found = (DIALECT_JUDGE.errors ?? []).map((error) => describe(error, path));
  return found.filter((each, i) => found.findIndex(({ path: at }) => at === each.path) === i);
}

function compileSchema(
  schema: PlainObject,
  path: string,
  isTrusted = true,
): Readonly<{ validate: ValidateFunction }> | Readonly<{ problem: Violation }> {
  // Without coercion: "5" is not 5. Strict: a misspelt keyword is an error, not ignored.
  const ajv = new Ajv2020({
    allErrors: true,
    strict: !isTrusted,
    validateSchema: false,
    allowUnionTypes: true,
    useDefaults: true,
    verbose: true,
    logger: false,
    code: { regExp: regularExpression },
  });
  try {
    return { validate: ajv.compile({ ...schema }) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { problem: { path, message: `not a JSON Schema (2020-12): ${shown(message)}` } };
  }
}

/** A default that breaks its own rule would fail at every customer, so it fails here. */
function checkDefaults(schema: PlainObject, root: PlainObject, path: string): readonly Violation[] {
  const properties = isPlainObject(schema["properties"]) ? schema["properties"] : {};
  return Object.entries(properties).flatMap(([name, child]) => {
    const at = below(below(path, "properties"), name);
    if (!isPlainObject(child)) return [];
    if (!Object.hasOwn(child, "default")) return checkDefaults(child, root, at);
    const wrapped = {
      type: "object",
      properties: { value: child },
      ...(root["$defs"] === undefined ? {} : { $defs: root["$defs"] }),
    };
    const compiled = compileSchema(wrapped, at);
    if ("problem" in compiled) return [compiled.problem];
    const value = structuredClone(child["default"]);
    const broken = failures(compiled.validate, { value }, "").map(({ path: where, message }) => ({
      path: below(at, "default") + where.replace(/^value/, ""),
      message,
    }));
    return [...broken, ...checkDefaults(child, root, at)];
  });
}

type WithParameters = Readonly<{ parameters?: JsonObject | undefined }>;
export type ParameterResolver = (plan: PlanParameters, given: JsonObject) => JsonObject;

/**
 * The values an instance runs with: the schema's defaults, then the plan's values, then those given.
 * Throws INVALID_ARGUMENT `PARAMETERS_INVALID` with all problems: values against the schema, and given values
 * that differ from the plan's where the plan locks them.
 */
export function resolveParameters(
  blueprint: WithParameters,
  plan: PlanParameters,
  given: JsonObject,
): JsonObject {
  return parameterResolver(blueprint)(plan, given);
}

/** As resolveParameters, for whoever asks more than once: to compile the schema takes most of the time. */
export function parameterResolver(blueprint: WithParameters): ParameterResolver {
  const schema = blueprint.parameters ?? NO_PARAMETERS;
  const compiled = compileSchema(schema, "parameters");
  return (plan, given) => {
    const locked = checkLocks(schema, plan, given);
    const merged = structuredClone({ ...plan.parameters, ...given });
    const size = JSON.stringify(merged).length;
    if (size > PARAMETER_CHARS_MAX) {
      const message = `${size} characters of JSON are too many; allowed: ${PARAMETER_CHARS_MAX}`;
      throw invalid("PARAMETERS_INVALID", [{ path: "parameters", message }]);
    }
    if ("problem" in compiled) throw invalid("PARAMETERS_INVALID", [compiled.problem]);
    const found = [...locked, ...failures(compiled.validate, merged, "parameters")];
    if (found.length > 0) throw invalid("PARAMETERS_INVALID", found);
    return merged;
  };
}

/** The schema of a release that declares none. */
export const NO_PARAMETERS: JsonObject = {
  type: "object",
  properties: {},
  additionalProperties: false,
};

function checkLocks(schema: JsonObject, plan: PlanParameters, given: JsonObject): Violation[] {
  return plan.lockedParameters
    .filter((name) => Object.hasOwn(given, name))
    .flatMap((name) => {
      const value = lockedValue(schema, plan, name);
      if (JSON.stringify(given[name]) === JSON.stringify(value)) return [];
      const message = `locked by the plan; got ${shown(given[name])}; allowed: ${shown(value ?? "nothing")}`;
      return [{ path: below("parameters", name), message }];
    });
}

function lockedValue(
  schema: JsonObject,
  plan: PlanParameters,
  name: string,
): JsonValue | undefined {
  const values = plan.parameters ?? {};
  if (Object.hasOwn(values, name)) return values[name];
  const properties = isPlainObject(schema["properties"]) ? schema["properties"] : {};
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
  return isPlainObject(property) ? (property["default"] as JsonValue | undefined) : undefined;
}

/** Fills defaults into `value` and says what does not fit. */
function failures(validate: ValidateFunction, value: unknown, path: string): readonly Violation[] {
  if (validate(value)) return [];
  return (validate.errors ?? []).map((error) => describe(error, path));
}

function describe(error: ErrorObject, root: string): Violation {
  const path = pointerPath(error.instancePath, root);
  const { keyword, params, data } = error;
  if (keyword === "required") {
    return { path: below(path, String(params["missingProperty"])), message: "required" };
  }
  if (keyword === "additionalProperties") {
    const name = String(params["additionalProperty"]);
    const known = Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {});
    const near = suggestion(name, known);
    const hint = near === undefined ? `known: ${known.join(", ")}` : `did you mean ${near}?`;
    return { path: below(path, name), message: `unknown parameter; ${hint}` };
  }
  // A value that is declared writeOnly is a secret of the customer.
  const isHidden = error.parentSchema?.["writeOnly"] === true;
  const got = isHidden ? "" : `got ${shown(data)}; `;
  return { path, message: `${got}allowed: ${ruleOf(error)}` };
}

function ruleOf({ keyword, params, message = "" }: ErrorObject): string {
  if (keyword === "type") return [params["type"]].flat().join(" or ");
  if (keyword === "enum") return (params["allowedValues"] as unknown[]).map(shown).join(", ");
  if (keyword === "const") return shown(params["allowedValue"]);
  return message.replace(/^must (be )?/, "");
}

function pointerPath(pointer: string, root: string): string {
  const names = pointer.split("/").slice(1);
  return names.reduce((path, name) => {
    const plain = name.replaceAll("~1", "/").replaceAll("~0", "~");
    return below(path, /^\d+$/.test(plain) ? Number(plain) : plain);
  }, root);
}
