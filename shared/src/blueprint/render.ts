/**
 * Puts what is known into a resource's spec and leaves typed holes for what is not yet: at assignment the
 * parameters and facts, at run time the outputs of other resources and the secrets. Pure: a later stage renders
 * the template again with more. What is put in is never looked at for expressions.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { invalid, VIOLATIONS_MAX, type Violation } from "../fault.ts";
import { shown } from "../text.ts";
import {
  EXPANSION_CHARS_MAX,
  EXPANSION_DEPTH_MAX,
  EXPANSION_RULE,
  lookUp,
  type Part,
  parseTemplate,
  printTemplate,
  type Reference,
  type Template,
  wholeReference,
} from "./expression.ts";
import type { ValueType } from "./kinds/kind.ts";
import { below } from "./shape.ts";

/** What is known at this stage. Absent means not yet known; an empty map means known to be empty. */
export type Known = Readonly<{
  params?: JsonObject | undefined;
  facts?: JsonObject | undefined;
  secrets?: Readonly<Record<string, string>> | undefined;
  /** A resource that is absent here is not running yet. */
  resources?: Readonly<Record<string, Readonly<{ outputs: JsonObject }>>> | undefined;
  /** Committed outputs of other instances; one that is absent here has none yet. */
  instances?: Readonly<Record<string, Readonly<{ outputs: JsonObject }>>> | undefined;
  /** Names of parameters that are secrets of the customer: declared writeOnly in the schema. */
  sensitiveParams?: readonly string[] | undefined;
}>;

/** A place that cannot be filled yet. In the spec stands the text that is left, known parts filled in. */
export type Hole = Readonly<{
  path: string;
  text: string;
  /** What will stand there: text, unless one expression is the whole value. */
  type: ValueType;
  stage: "assignment" | "runtime";
  sensitive: boolean;
}>;

export type Rendered<T extends JsonValue = JsonObject> = Readonly<{
  spec: T;
  holes: readonly Hole[];
  /** Paths of values that must not be shown, holes included. */
  sensitive: readonly string[];
}>;

/**
 * Throws INVALID_ARGUMENT `EXPRESSION_INVALID` for a name that does not exist in what is known, a map or list
 * within a text, and expansion beyond 1 MiB or 8 levels. Paths start at the template's root.
 */
export function render<T extends JsonValue>(template: T, known: Known): Rendered<T> {
  const rendering = new Rendering(known);
  const spec = rendering.value(template, "") as T;
  return rendering.finish(spec);
}

/** The names of parameters whose schema says writeOnly. */
export function sensitiveParameters(schema: JsonObject | undefined): readonly string[] {
  const properties = schema?.["properties"];
  if (typeof properties !== "object" || properties === null || Array.isArray(properties)) return [];
  return Object.entries(properties)
    .filter(([, each]) => typeof each === "object" && each !== null && !Array.isArray(each))
    .filter(([, each]) => (each as JsonObject)["writeOnly"] === true)
    .map(([name]) => name);
}

type Found =
  | Readonly<{ state: "known"; value: JsonValue }>
  | Readonly<{ state: "open" }>
  | Readonly<{ state: "wrong" }>;

class Rendering {
  readonly #known: Known;
  readonly #holes: Hole[] = [];
  readonly #sensitive: string[] = [];
  readonly #violations: Violation[] = [];
  #expanded = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  value(template: JsonValue, path: string): JsonValue {
    if (typeof template === "string") return this.#text(template, path);
    if (Array.isArray(template)) {
      return template.map((each, i) => this.value(each, below(path, i)));
    }
    if (typeof template !== "object" || template === null) return template;
    const entries = Object.entries(template).map(([key, child]) => {
      return [key, this.value(child, below(path, key))] as const;
    });
    return Object.fromEntries(entries);
  }

  finish<T extends JsonValue>(spec: T): Rendered<T> {
    if (this.#violations.length > 0) {
      throw invalid("EXPRESSION_INVALID", this.#violations.slice(0, VIOLATIONS_MAX));
    }
    return { spec, holes: this.#holes, sensitive: this.#sensitive };
  }

  #text(text: string, path: string): JsonValue {
    const template = parseTemplate(text);
    if ("problem" in template) return this.#wrong(path, template.problem, text);
    const references = template.parts.filter((part) => typeof part !== "string");
    if (references.length === 0) return template.parts.join("");
    const isSensitive = references.some((each) => this.#isSensitive(each));
    if (isSensitive) this.#sensitive.push(path);
    const whole = wholeReference(template);
    if (whole !== undefined) return this.#whole(whole, template, path);
    const parts = template.parts.map((part) => this.#part(part, path));
    const merged = mergeTexts(parts);
    const open = merged.filter((part) => typeof part !== "string");
    if (open.length === 0) return merged.join("");
    return this.#hole({ parts: merged }, path, "string", isSensitive);
  }

  /** One expression is the whole value, which keeps its type. */
  #whole(reference: Reference, template: Template, path: string): JsonValue {
    const found = this.#find(reference, path);
    if (found.state === "open") {
      return this.#hole(template, path, typeOf(reference), this.#isSensitive(reference));
    }
    if (found.state === "wrong") return "";
    this.#spend(found.value, path);
    return structuredClone(found.value);
  }

  #part(part: Part, path: string): Part {
    if (typeof part === "string") return part;
    const found = this.#find(part, path);
    if (found.state === "open") return part;
    if (found.state === "wrong") return "";
    const { value } = found;
    if (typeof value === "object") {
      const got = value === null ? "null" : Array.isArray(value) ? "a list" : "a map";
      return this.#wrong(path, `${shown(part.text)} is ${got} and cannot be part of a text`, "");
    }
    this.#spend(value, path);
    return String(value);
  }

  #find(reference: Reference, path: string): Found {
    const { root, names, text } = reference;
    const [first = "", ...deeper] = names;
    const table = this.#known[root];
    if (table === undefined) return { state: "open" };
    // The table of resources is data like any other; one that is absent is not running yet.
    if (root === "resources" && !Object.hasOwn(table, first)) return { state: "open" };
    if (root === "instances" && !Object.hasOwn(table, first)) return { state: "open" };
    if (root === "secrets" && !Object.hasOwn(table, first)) return { state: "open" };
    const value = lookUp(table as JsonObject, [first, ...deeper]);
    if (value !== undefined) return { state: "known", value };
    const known = Object.keys(table).map(shown).join(", ") || "none";
    this.#wrong(path, `${shown(text)}: unknown name; known in ${root}: ${known}`, "");
    return { state: "wrong" };
  }

  /** Bounds what is put in, however often and however deep it is. */
  #spend(value: JsonValue, path: string): void {
    this.#expanded += typeof value === "string" ? value.length : JSON.stringify(value).length;
    if (this.#expanded > EXPANSION_CHARS_MAX || depthOf(value) > EXPANSION_DEPTH_MAX) {
      throw invalid("EXPRESSION_INVALID", [{ path, message: EXPANSION_RULE }]);
    }
  }

  #hole(template: Template, path: string, type: ValueType, sensitive: boolean): string {
    const text = printTemplate(template);
    const isEarly = template.parts.some(
      (part) => typeof part !== "string" && (part.root === "params" || part.root === "facts"),
    );
    const stage = isEarly ? "assignment" : "runtime";
    this.#holes.push({ path, text, type, stage, sensitive });
    return text;
  }

  #isSensitive({ root, names }: Reference): boolean {
    if (root === "secrets") return true;
    return root === "params" && (this.#known.sensitiveParams ?? []).includes(names[0] ?? "");
  }

  #wrong(path: string, message: string, instead: string): string {
    this.#violations.push({ path, message });
    return instead;
  }
}

function mergeTexts(parts: readonly Part[]): readonly Part[] {
  const merged: Part[] = [];
  for (const part of parts) {
    const last = merged.at(-1);
    if (typeof part === "string" && typeof last === "string")
      merged[merged.length - 1] = last + part;
    else merged.push(part);
  }
  return merged;
}

/** Ports are numbers and secrets text; of parameters and facts the schema and the cell know. */
function typeOf({ root, names }: Reference): ValueType {
  if (root === "secrets") return "string";
  return root === "resources" && names[2] === "ports" ? "integer" : "any";
}

function depthOf(value: JsonValue): number {
  if (typeof value !== "object" || value === null) return 0;
  let deepest = 0;
  for (const child of Object.values(value)) deepest = Math.max(deepest, depthOf(child));
  return 1 + deepest;
}
