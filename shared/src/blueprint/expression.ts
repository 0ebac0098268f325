/**
 * Text with references: `${params.x}`, `${facts.x}`, `${resources.a.outputs.y}`, `${instances.a.outputs.y}`,
 * `${secrets.x}`; `$${` stands for `${` itself. Nothing is ever computed or called: a reference is looked up among own properties of plain
 * data, and what it brings in is not looked at again.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { shown, suggestion } from "../text.ts";

export const REFERENCE_ROOTS = ["params", "facts", "resources", "instances", "secrets"] as const;
export type ReferenceRoot = (typeof REFERENCE_ROOTS)[number];

/** `names` follow the root: `["worker", "outputs", "ports", "http"]`. */
export type Reference = Readonly<{ root: ReferenceRoot; names: readonly string[]; text: string }>;
export type Part = string | Reference;
export type Template = Readonly<{ parts: readonly Part[] }>;

/** Names in one reference, and levels of a value that one brings in. */
export const EXPANSION_DEPTH_MAX = 8;
/** Of all text that is put in for references, in one rendering. */
export const EXPANSION_CHARS_MAX = 1_048_576;
export const EXPANSION_RULE = "expansion limit 1 MiB / depth 8";

const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

/** The parts of a text, or what is wrong with it. Before `{`, two dollars stand for one. */
export function parseTemplate(text: string): Template | Readonly<{ problem: string }> {
  const parts: Part[] = [];
  let literal = "";
  let at = 0;
  for (const { 0: dollars, index } of text.matchAll(/\$+(?=\{)/g)) {
    if (index < at) continue; // Within a reference that was read already, and then not well-formed.
    literal += text.slice(at, index) + "$".repeat(Math.floor(dollars.length / 2));
    at = index + dollars.length;
    if (dollars.length % 2 === 0) continue;
    const end = text.indexOf("}", at);
    if (end < 0) return { problem: `\${ without }; write $\${ for the characters themselves` };
    const reference = parseReference(text.slice(at + 1, end));
    if ("problem" in reference) return reference;
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push(reference);
    at = end + 1;
  }
  literal += text.slice(at);
  if (literal !== "" || parts.length === 0) parts.push(literal);
  return { parts };
}

function parseReference(inner: string): Reference | Readonly<{ problem: string }> {
  const [root = "", ...names] = inner.split(".");
  const text = `\${${inner}}`;
  if (!isRoot(root)) {
    const near = suggestion(root, REFERENCE_ROOTS);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    return { problem: `${shown(text)} begins with no known name; known: ${ROOTS_SHOWN}${hint}` };
  }
  if (names.length === 0 || !names.every((name) => NAME.test(name))) {
    return { problem: `${shown(text)} is not of the form \${${root}.NAME}` };
  }
  if (names.length > EXPANSION_DEPTH_MAX) return { problem: `${shown(text)}: ${EXPANSION_RULE}` };
  if (root === "resources" && (names[1] !== "outputs" || names.length < 3)) {
    return { problem: `${shown(text)} is not of the form \${resources.ID.outputs.NAME}` };
  }
  if (root === "instances" && (names[1] !== "outputs" || names.length !== 3)) {
    return { problem: `${shown(text)} is not of the form \${instances.NAME.outputs.NAME}` };
  }
  if (root === "secrets" && names.length > 1) {
    return { problem: `${shown(text)} is not of the form \${secrets.NAME}` };
  }
  return { root, names, text };
}

const ROOTS_SHOWN = REFERENCE_ROOTS.join(", ");

function isRoot(word: string): word is ReferenceRoot {
  return REFERENCE_ROOTS.some((root) => root === word);
}

/** The text that parses to these parts. */
export function printTemplate({ parts }: Template): string {
  const texts = parts.map((part, i) => {
    if (typeof part !== "string") return part.text;
    const escaped = escapeText(part);
    return typeof parts[i + 1] === "object" ? escaped.replace(/\$+$/, "$&$&") : escaped;
  });
  return texts.join("");
}

/** `text` so that it is read as the same characters again. */
export function escapeText(text: string): string {
  return text.replace(/\$+(?=\{)/g, "$&$&");
}

export function referencesOf(template: Template): readonly Reference[] {
  return template.parts.filter((part) => typeof part !== "string");
}

/** The one reference that the whole text consists of: its value keeps its type. */
export function wholeReference({ parts }: Template): Reference | undefined {
  const [only] = parts;
  return parts.length === 1 && typeof only === "object" ? only : undefined;
}

/** Follows own properties only, so that no name ever reaches a prototype. */
export function lookUp(data: JsonValue, names: readonly string[]): JsonValue | undefined {
  let at: JsonValue | undefined = data;
  for (const name of names) {
    if (typeof at !== "object" || at === null || Array.isArray(at)) return undefined;
    at = Object.hasOwn(at, name) ? (at as JsonObject)[name] : undefined;
  }
  return at;
}
