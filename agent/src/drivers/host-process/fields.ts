/**
 * What the agent owns of a program that runs, and how that is now: its limits in its control groups, whether it is
 * still in them, and the files of its secrets. What it was started with cannot be changed from outside, and what it
 * does itself, such as another title, is its own.
 */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import type { Difference, JsonObject, JsonValue } from "../driver.ts";
import { objectOf } from "../json-file.ts";
import { groupName } from "./cgroup.ts";
import type { Copy } from "./copies.ts";
import { amountIn, controllerOf, otherAmounts } from "./limits-live.ts";
import { SECRET_AS_WRITTEN, secretFields } from "./secrets.ts";

const OWN_GROUP = "its own";

/** In the shape of the spec, with `controlGroup` beside; undefined for a copy that does not run. */
export function fieldsOf(
  procDir: string,
  copy: Pick<Copy, "key" | "handle" | "running" | "process" | "record" | "runDir">,
): JsonObject | undefined {
  const { record, process, running, runDir } = copy;
  if (!running || record === undefined || process === undefined) return undefined;
  const secretFiles = secretFields(runDir);
  const held = record.kept.filter(({ how }) => how === "cgroup");
  const parts: Record<string, Record<string, JsonValue>> = { limits: {}, requests: {} };
  for (const { amount } of held) {
    const place = record.groups[controllerOf(amount)];
    const value = place && amountIn(amount, place.version, (file) => textOf(join(place.dir, file)));
    const [part = "", name = ""] = amount.split(".");
    if (value !== undefined && parts[part] !== undefined) parts[part][name] = value;
  }
  const group = held.length === 0 ? undefined : groupOf(procDir, process.pid, copy);
  return {
    ...parts,
    ...(group !== undefined && { controlGroup: group }),
    ...(Object.keys(secretFiles).length > 0 && { secretFiles }),
  };
}

/** The first group that is another's; undefined where the kernel does not say. */
function groupOf(
  procDir: string,
  pid: number,
  { key, handle, record }: Pick<Copy, "key" | "handle" | "record">,
): string | undefined {
  const lines = textOf(join(procDir, String(pid), "cgroup")).split("\n");
  const name = groupName(key.instanceId, handle);
  const controllers = Object.keys(record?.groups ?? {});
  const own = lines.flatMap((line) => {
    const [, names = "", ...path] = line.split(":");
    const isHeld = names.split(",").some((each) => controllers.includes(each || "unified"));
    return isHeld ? [path.join(":")] : [];
  });
  if (own.length === 0) return undefined;
  return own.find((path) => basename(path) !== name) ?? OWN_GROUP;
}

/** As the spec says it and as `fields` say it; nothing of fields that were not looked at. */
export function driftOf(
  fields: JsonObject | undefined,
  { limits, requests, secretFiles }: Pick<ProgramSpec, "limits" | "requests" | "secretFiles">,
): readonly Difference[] {
  if (fields === undefined) return [];
  const group = fields["controlGroup"];
  const moved: readonly Difference[] =
    group === undefined || group === OWN_GROUP
      ? []
      : [{ path: "controlGroup", applied: OWN_GROUP, live: group }];
  const files = Object.keys(secretFiles).flatMap((name): Difference[] => {
    const file = objectOf(objectOf(fields["secretFiles"])?.[name]) ?? {};
    return Object.entries(file).flatMap(([field, live]) => {
      const applied = SECRET_AS_WRITTEN[field];
      if (applied === undefined || live === applied) return [];
      return [{ path: `secretFiles.${name}.${field}`, applied, live }];
    });
  });
  return [...otherAmounts({ limits, requests }, fields), ...moved, ...files];
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}
