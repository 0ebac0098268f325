/**
 * Fits a document to a message: field names and types with their path, and short words for enumerations
 * (`kind: byoa` for CELL_KIND_BYOA). What is left to the hub are the rules about values.
 */
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { knownProblem, numberProblem } from "@holdfast/shared/number-forms.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";

/** Told for each problem: where in the document, and what is wrong. */
export type Refuse = (path: string, message: string) => void;

/** The document as proto JSON of the message, as far as it fits. */
export function fitToSchema(schema: DescMessage, document: JsonObject, refuse: Refuse): JsonObject {
  return fitMessage(schema, document, "", refuse);
}

function fitMessage(
  schema: DescMessage,
  value: JsonObject,
  path: string,
  refuse: Refuse,
): JsonObject {
  const names = schema.fields.map(({ jsonName }) => jsonName);
  const entries = Object.entries(value).flatMap(([key, child]): [string, JsonValue][] => {
    const here = path === "" ? key : `${path}.${key}`;
    const field = schema.fields.find(({ jsonName, name }) => key === jsonName || key === name);
    if (field === undefined) {
      const near = suggestion(key, names);
      const hint = near === undefined ? `known: ${names.join(", ")}` : `did you mean ${near}?`;
      refuse(shown(here), `unknown field; ${hint}`);
      return [];
    }
    return child === null ? [] : [[field.jsonName, fitField(field, child, here, refuse)]];
  });
  return Object.fromEntries(entries);
}

function fitField(field: DescField, value: JsonValue, path: string, refuse: Refuse): JsonValue {
  if (field.fieldKind === "list") {
    if (!Array.isArray(value)) return wrongType(value, "a list", path, refuse);
    return value.map((each, i) => fitOne(field, each, `${path}[${i}]`, refuse));
  }
  if (field.fieldKind === "map") {
    if (!isMap(value)) return wrongType(value, "a map", path, refuse);
    const entries = Object.entries(value).map(([key, child]) => {
      return [key, fitOne(field, child, `${path}.${key}`, refuse)] as const;
    });
    return Object.fromEntries(entries);
  }
  return fitOne(field, value, path, refuse);
}

function fitOne(field: DescField, value: JsonValue, path: string, refuse: Refuse): JsonValue {
  if (field.message !== undefined) {
    if (field.message.file.proto.package === "google.protobuf") {
      return fitKnown(field.message, value, path, refuse);
    }
    if (!isMap(value)) return wrongType(value, "a map", path, refuse);
    return fitMessage(field.message, value, path, refuse);
  }
  if (field.enum !== undefined) return fitEnum(field.enum, value, path, refuse);
  return fitScalar(field.scalar ?? ScalarType.STRING, value, path, refuse);
}

/** Struct, Timestamp, Duration and their like have JSON forms of their own. */
function fitKnown(schema: DescMessage, value: JsonValue, path: string, refuse: Refuse): JsonValue {
  const problem = knownProblem(schema, value);
  if (problem !== undefined) {
    refuse(shown(path), problem);
    return value;
  }
  try {
    fromJson(schema, value);
    return value;
  } catch {
    const allowed = KNOWN_FORMS[schema.name] ?? schema.name;
    return wrongType(value, allowed, path, refuse);
  }
}

const KNOWN_FORMS: Readonly<Record<string, string>> = {
  Struct: "a map",
  Timestamp: "a time such as 2026-11-20T08:00:00Z",
  Duration: "seconds such as 3600s",
};

function fitEnum(schema: DescEnum, value: JsonValue, path: string, refuse: Refuse): JsonValue {
  const prefix = schema.sharedPrefix ?? "";
  const words = schema.values
    .filter(({ number }) => number !== 0)
    .map(({ name }) => ({ name, word: name.toLowerCase().slice(prefix.length) }));
  const given = typeof value === "string" ? value.toLowerCase() : undefined;
  const found = words.find(({ name, word }) => given === word || given === name.toLowerCase());
  if (found !== undefined) return found.name;
  return wrongType(value, words.map(({ word }) => word).join(", "), path, refuse);
}

function fitScalar(type: ScalarType, value: JsonValue, path: string, refuse: Refuse): JsonValue {
  if (type === ScalarType.STRING) {
    return typeof value === "string" ? value : wrongType(value, "text", path, refuse);
  }
  if (type === ScalarType.BOOL) {
    return typeof value === "boolean" ? value : wrongType(value, "true or false", path, refuse);
  }
  const problem = numberProblem(type, value);
  if (problem !== undefined) refuse(shown(path), problem);
  return value;
}

function isMap(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrongType(value: JsonValue, allowed: string, path: string, refuse: Refuse): JsonValue {
  refuse(shown(path), `got ${shown(value)}; allowed: ${allowed}`);
  return value;
}
