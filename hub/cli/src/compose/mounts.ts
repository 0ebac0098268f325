/** Volumes, host paths and memory of a service. */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import type { Part } from "./part.ts";
import { memoryMib } from "./values.ts";

const SHORT = /^(?<source>[^:]+):(?<target>[^:]+)(?::(?<mode>ro|rw|z|Z))?$/;
const LONG = ["type", "source", "target", "read_only", "tmpfs"];

export function readMounts(part: Part) {
  const { service, notes, at } = part;
  const volumes: Record<string, unknown> = {};
  const mounts: unknown[] = [];
  const tmpfs: unknown[] = [];
  const given = service["volumes"];
  for (const [i, each] of (Array.isArray(given) ? given : []).entries()) {
    const here = [...at, "volumes", i];
    const read = isPlainObject(each) ? longOf(part, here, each) : shortOf(each);
    if (read === undefined) {
      notes.refuse(here, "an anonymous volume is lost with its container; give it a name");
      continue;
    }
    const { source, target, isReadOnly, type, sizeMib } = read;
    if (type === "tmpfs")
      tmpfs.push({ path: target, ...(sizeMib !== undefined && { mib: sizeMib }) });
    else if (source.startsWith("/")) mounts.push({ source, path: target, readOnly: isReadOnly });
    else if (/^[.~]/.test(source))
      notes.refuse(here, "a path beside the Compose file; release it as an artefact");
    else if (!part.volumes.has(source))
      notes.refuse(here, `the volume ${source} is not declared under volumes`);
    else volumes[source] = { path: target, ...(isReadOnly && { readOnly: true }) };
  }
  for (const path of [service["tmpfs"] ?? []].flat()) tmpfs.push({ path });
  return {
    ...(Object.keys(volumes).length > 0 && { volumes }),
    ...(mounts.length > 0 && { mounts }),
    ...(tmpfs.length > 0 && { tmpfs }),
  };
}

type Mount = Readonly<{
  type: string;
  source: string;
  target: string;
  isReadOnly: boolean;
  sizeMib?: number | undefined;
}>;

function shortOf(value: unknown): Mount | undefined {
  const { source, target, mode } = SHORT.exec(String(value))?.groups ?? {};
  if (source === undefined || target === undefined) return undefined;
  return { type: "volume", source, target, isReadOnly: mode === "ro" };
}

function longOf(
  { notes }: Part,
  at: readonly (string | number)[],
  value: Readonly<Record<string, unknown>>,
): Mount | undefined {
  for (const key of Object.keys(value)) {
    if (!LONG.includes(key)) notes.refuse([...at, key], "not carried over");
  }
  const { type = "volume", source = "", target } = value;
  if (typeof target !== "string" || (type !== "tmpfs" && source === "")) return undefined;
  const size = isPlainObject(value["tmpfs"]) ? value["tmpfs"]["size"] : undefined;
  return {
    ...{ type: String(type), source: String(source), target },
    isReadOnly: value["read_only"] === true,
    ...(size !== undefined && { sizeMib: memoryMib(size) }),
  };
}
