/**
 * What of an object, an event or the hub may go into a support bundle: fields that are named here. Parameters,
 * annotations, outputs and labels are told by their names alone, since any value may be a secret.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { at } from "./format.ts";

/** A leaf; a list or map is taken as a whole where its name ends with `.*`. */
const OBJECT_FIELDS = [
  ...["id", "name", "tenant", "generation", "createTime", "updateTime", "deleteTime"].map(
    (each) => `metadata.${each}`,
  ),
  "metadata.finalizers.*",
  ...["product", "release", "plan", "planVersion", "subscription", "environment", "cell"].map(
    (each) => `spec.${each}`,
  ),
  ...["instance", "runState", "kind", "region", "runtime", "version", "number", "digest"].map(
    (each) => `spec.${each}`,
  ),
  ...["tenancyModel", "rank", "seatsMax", "startTime", "endTime", "publishTime"].map(
    (each) => `spec.${each}`,
  ),
  ...["generation.*", "observedGeneration.*", "committedGeneration.*", "committedRelease"].map(
    (each) => `status.${each}`,
  ),
  ...["seats", "reportTime", "version", "fencing", "platform", "capabilities.*"].map(
    (each) => `status.${each}`,
  ),
  ...["certificateExpireTime", "connectTime", "seenTime", "activeAgent", "instances"].map(
    (each) => `status.${each}`,
  ),
  ...["release", "seat"].map((each) => `status.${each}`),
];
/** Told by their keys. */
const KEYS_ONLY = [
  "metadata.labels",
  "metadata.annotations",
  "spec.parameters",
  "spec.overrides",
  "spec.localSecrets",
  "status.outputs",
];
const CONDITION_FIELDS = ["type", "status", "reason", "message", "lastTransitionTime"];
const ATTEMPT_FIELDS = ["releaseVersion", "state", "reason", "message", "startTime", "endTime"];
const STEP_FIELDS = ["id", "state", "reason", "message", "durationMs"];
const RESOURCE_FIELDS = ["id", "kind", "phase", "restarts", "message"];
const EVENT_FIELDS = [
  ...["id", "type", "subject", "subjectName", "tenant", "position", "time", "principal"],
  ...["permission", "reason", "requestId"],
];
const HUB_FIELDS = ["version", "incarnation", "vendorId", "vendor", "time"];

export function allowedHub(hub: JsonObject): JsonObject {
  return picked(hub, HUB_FIELDS);
}

export function allowedEvent(event: JsonObject): JsonObject {
  const names = ["before", "after"].flatMap((each) => namesIn(at(event, each), ""));
  return { ...picked(event, EVENT_FIELDS), fields: [...new Set(names)].sort() };
}

export function allowedObject(view: JsonObject): JsonObject {
  const flat: Record<string, JsonValue> = {};
  for (const field of OBJECT_FIELDS) {
    const path = field.replace(/\.\*$/, "");
    const value = at(view, path);
    const isWhole = field.endsWith(".*");
    if (value !== undefined && (isWhole || typeof value !== "object")) flat[path] = scrubbed(value);
  }
  for (const path of KEYS_ONLY) {
    const value = at(view, path);
    if (isMap(value)) flat[path] = Object.keys(value).sort();
  }
  const attempt = at(view, "status.attempt");
  const conditions = listOf(at(view, "status.conditions"), CONDITION_FIELDS);
  const resources = listOf(at(view, "status.resources"), RESOURCE_FIELDS);
  return {
    ...flat,
    ...(conditions.length > 0 && { conditions }),
    ...(resources.length > 0 && { resources }),
    ...(isMap(attempt) && {
      attempt: { ...picked(attempt, ATTEMPT_FIELDS), steps: listOf(attempt["steps"], STEP_FIELDS) },
    }),
  };
}

function listOf(value: JsonValue | undefined, fields: readonly string[]): JsonObject[] {
  return Array.isArray(value) ? value.filter(isMap).map((each) => picked(each, fields)) : [];
}

/** Leaves alone: what is in a map or list was not named. */
function picked(from: JsonObject, fields: readonly string[]): JsonObject {
  const entries = fields.flatMap((field): [string, JsonValue][] => {
    const value = from[field];
    return value === undefined || typeof value === "object" ? [] : [[field, scrubbed(value)]];
  });
  return Object.fromEntries(entries);
}

function namesIn(value: JsonValue | undefined, path: string): readonly string[] {
  if (!isMap(value)) return path === "" ? [] : [path];
  return Object.entries(value).flatMap(([name, child]) =>
    namesIn(child, path === "" ? name : `${path}.${name}`),
  );
}

function isMap(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What secrets look like where a program wrote them into a message. */
const SECRETS: readonly Readonly<{ pattern: RegExp; by: string }>[] = [
  { pattern: /-----BEGIN [A-Z ]+-----[\s\S]*?(-----END [A-Z ]+-----|$)/g, by: "(key)" },
  { pattern: /\b(hft|hfj)_[\w-]+/g, by: "(token)" },
  { pattern: /AGE-SECRET-KEY-[\w-]+/gi, by: "(key)" },
  { pattern: /\beyJ[\w-]+\.[\w-]+(\.[\w-]+)?/g, by: "(token)" },
  { pattern: /(\w+:\/\/)[^\s/@]+@/g, by: "$1(credentials)@" },
  { pattern: /\b(bearer|basic)\s+[\w.~+/=-]+/gi, by: "$1 (hidden)" },
  {
    pattern:
      /\b([\w-]*(?:pass(?:word|wd)?|secret|token|api[_-]?key|credential)[\w-]*\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)/gi,
    by: "$1(hidden)",
  },
];

export function scrubbed(value: JsonValue): JsonValue {
  if (typeof value === "string") {
    return SECRETS.reduce((text, { pattern, by }) => text.replace(pattern, by), value);
  }
  if (Array.isArray(value)) return value.map(scrubbed);
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, scrubbed(child)]));
}
