/**
 * Judges every expression of a blueprint before anybody renders it: its names are declared, it stands where an
 * expression may stand, and secrets are named only where the kind keeps them secret.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Violation } from "../fault.ts";
import { shown, suggestion } from "../text.ts";
import type { BlueprintContent, ResourceContent } from "./content.ts";
import { parseTemplate, type Reference, referencesOf, wholeReference } from "./expression.ts";
import type { SpecPath } from "./kinds/kind.ts";
import { kindRules } from "./kinds/kinds.ts";
import { below, isPlainObject } from "./shape.ts";

/** All that is wrong with the expressions in specs and outputs. */
export function checkExpressions(content: BlueprintContent): readonly Violation[] {
  const inSpecs = content.resources.flatMap((resource, i) => {
    const path = below(below("resources", i), "spec");
    return checkSpec(resource, path, content);
  });
  const inOutputs = Object.entries(content.outputs).flatMap(([name, text]) =>
    checkText(text, below("outputs", name), {
      content,
      dependsOn: undefined,
      mayHoldSecret: false,
    }),
  );
  return [...inSpecs, ...inOutputs];
}

/** The resources that the expressions in a spec name, each once. */
export function impliedDependencies(spec: JsonObject): readonly string[] {
  const ids = new Set<string>();
  for (const { text } of textsAt(spec, [])) {
    const template = parseTemplate(text);
    if ("problem" in template) continue;
    for (const { root, names } of referencesOf(template)) {
      if (root === "resources" && names[0] !== undefined) ids.add(names[0]);
    }
  }
  return [...ids];
}

/** Every text in a value and where it stands; names of fields are no texts. */
export function* textsAt(
  value: unknown,
  at: SpecPath,
): Generator<Readonly<{ at: SpecPath; text: string }>> {
  if (typeof value === "string") yield { at, text: value };
  else if (Array.isArray(value)) {
    for (const [i, child] of value.entries()) yield* textsAt(child, [...at, i]);
  } else if (isPlainObject(value)) {
    for (const [key, child] of Object.entries(value)) yield* textsAt(child, [...at, key]);
  }
}

function checkSpec(
  { kind, spec = {}, dependsOn }: ResourceContent,
  path: string,
  content: BlueprintContent,
): readonly Violation[] {
  const rules = kindRules(kind);
  if (rules === undefined) return [];
  const found: Violation[] = [];
  for (const { at, text } of textsAt(spec, [])) {
    const here = at.reduce(below, path);
    const template = parseTemplate(text);
    const hasReference = "problem" in template || referencesOf(template).length > 0;
    if (hasReference && rules.isStatic(spec, at)) {
      const message = `got ${shown(text)}; this field is static: a constant of the release`;
      found.push({ path: here, message });
      continue;
    }
    found.push(
      ...checkText(text, here, { content, dependsOn, mayHoldSecret: rules.mayHoldSecret(at) }),
      ...(rules.wantsInteger(at) ? checkInteger(text, here, content) : []),
    );
  }
  return found;
}

/** What is not the value of a parameter is judged where it is known. */
function checkInteger(text: string, path: string, { parameters }: BlueprintContent): Violation[] {
  const template = parseTemplate(text);
  const reference = "problem" in template ? undefined : wholeReference(template);
  if (reference?.root !== "params" || reference.names.length !== 1) return [];
  const properties = parameters?.["properties"];
  const property = isPlainObject(properties) ? properties[reference.names[0] ?? ""] : undefined;
  const type = isPlainObject(property) ? property["type"] : undefined;
  if (type === undefined || type === "integer") return [];
  const message = `${shown(reference.text)} is of type ${shown(type)}; allowed: integer`;
  return [{ path, message }];
}

type Place = Readonly<{
  content: BlueprintContent;
  /** Undefined: every resource may be named. */
  dependsOn: readonly string[] | undefined;
  mayHoldSecret: boolean;
}>;

function checkText(text: string, path: string, place: Place): readonly Violation[] {
  const template = parseTemplate(text);
  if ("problem" in template) return [{ path, message: template.problem }];
  const isWhole = wholeReference(template) !== undefined;
  return referencesOf(template).flatMap((reference) => {
    const problem = referenceProblem(reference, place, isWhole);
    return problem === undefined ? [] : [{ path, message: problem }];
  });
}

function referenceProblem(
  reference: Reference,
  place: Place,
  isWhole: boolean,
): string | undefined {
  if (reference.root === "params") return parameterProblem(reference, place, isWhole);
  if (reference.root === "resources") return resourceProblem(reference, place);
  if (reference.root === "instances") return instanceProblem(reference, place.content);
  if (reference.root === "facts") return undefined; // Known only where a cell is known.
  const declared = place.content.secrets.map(({ name }) => name);
  if (!place.mayHoldSecret) {
    return `${shown(reference.text)} may not stand here; allowed: only in secretFiles of a process and content of a file`;
  }
  return unknownName(reference, declared);
}

function instanceProblem(reference: Reference, { instances }: BlueprintContent) {
  const unknown = unknownName(
    reference,
    instances.map(({ name }) => name),
  );
  if (unknown !== undefined) return unknown;
  const [name = "", , output = ""] = reference.names;
  const outputs = instances.find((each) => each.name === name)?.outputs ?? {};
  if (Object.hasOwn(outputs, output)) return undefined;
  const known = Object.keys(outputs).join(", ") || "none";
  return `${shown(reference.text)}: not declared; instance ${shown(name)} is asked for: ${known}`;
}

function unknownName({ text, names: [name = ""] }: Reference, known: readonly string[]) {
  if (known.includes(name)) return undefined;
  const near = suggestion(name, known);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  return `${shown(text)}: unknown name; known: ${known.map(shown).join(", ") || "none"}${hint}`;
}

/** A parameter that may be absent cannot be rendered, which would show at the first customer only. */
function parameterProblem(reference: Reference, { content }: Place, isWhole: boolean) {
  const schema: JsonObject = content.parameters ?? {};
  const properties = isPlainObject(schema["properties"]) ? schema["properties"] : {};
  const [name = "", ...deeper] = reference.names;
  const unknown = unknownName(reference, Object.keys(properties));
  if (unknown !== undefined) return unknown;
  const property = properties[name];
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const hasDefault = isPlainObject(property) && Object.hasOwn(property, "default");
  if (!hasDefault && !required.includes(name)) {
    return `${shown(reference.text)} may be absent; make ${shown(name)} required or give it a default`;
  }
  const type = isPlainObject(property) ? property["type"] : undefined;
  if (deeper.length > 0 && type !== undefined && type !== "object") {
    return `${shown(reference.text)}: ${shown(name)} is of type ${shown(type)} and has no fields`;
  }
  if (deeper.length === 0 && !isWhole && (type === "object" || type === "array")) {
    return `${shown(reference.text)} is of type ${type} and cannot be part of a text`;
  }
  return undefined;
}

function resourceProblem(reference: Reference, { content, dependsOn }: Place): string | undefined {
  const ids = content.resources.map(({ id }) => id);
  const unknown = unknownName(reference, ids);
  if (unknown !== undefined) return unknown;
  const [id = "", , ...output] = reference.names;
  if (dependsOn !== undefined && !dependsOn.includes(id)) {
    return `${shown(reference.text)}: ${shown(id)} is not in dependsOn`;
  }
  const resource = content.resources.find((each) => each.id === id);
  const rules = resource && kindRules(resource.kind);
  if (resource === undefined || rules === undefined) return undefined;
  const outputs = rules.outputsOf(resource.spec ?? {});
  if (outputs.has(output.join("."))) return undefined;
  const known = [...outputs.keys()].join(", ") || "none";
  return `${shown(reference.text)}: no such output; ${shown(id)} has: ${known}`;
}
