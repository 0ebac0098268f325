/** Data that nothing uses any more, as this host's people see it, and the words with which they destroy it. Pure. */
import { fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { isId } from "@holdfast/shared/ids.ts";
import { escapeControls, shown } from "@holdfast/shared/text.ts";
import { type Kept, unusedSince } from "../reconcile/kept.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";

export type LocalKept = Readonly<{
  instanceId: string;
  /** Empty where nobody knows the instance any more. */
  instance: string;
  name: string;
  /** Empty: the instance's as a whole. */
  resource: string;
  /** At least. */
  bytes: string;
  since: string;
  /** Where it is on this host; empty while no agent runs that could say. */
  place: string;
}>;

/** `seen`: by the running engine; without it what the last statuses said. */
export function keptHere(
  store: Store,
  seen: readonly Kept[] | undefined,
  statuses: readonly InstanceStatus[],
): readonly LocalKept[] {
  if (seen !== undefined) {
    return seen.map((data) => {
      const { instanceId, name, resourceId: resource = "", bytes, place } = data;
      const since = new Date(unusedSince(store, data)).toISOString();
      const instance = nameOf(store, instanceId);
      return { instanceId, instance, name, resource, bytes: String(bytes), since, place };
    });
  }
  return statuses.flatMap(({ instanceId, kept }) =>
    kept.map(({ name, resource, bytes, since }) => ({
      ...{ instanceId, instance: nameOf(store, instanceId), name, resource, bytes: String(bytes) },
      since: since === undefined ? "" : timestampDate(since).toISOString(),
      place: "",
    })),
  );
}

function nameOf(store: Store, instanceId: string): string {
  const held = assignments.find(store, instanceId);
  return held === undefined ? "" : fromBinary(AssignmentSchema, held.envelope.payload).instanceName;
}

export function keptText(kept: readonly LocalKept[]): string {
  if (kept.length === 0) return "nothing is kept that nothing uses\n";
  const head = ["INSTANCE", "ID", "NAME", "RESOURCE", "BYTES", "SINCE", "PLACE"];
  const rows = kept.map((each) => [
    ...[each.instance || "-", each.instanceId, each.name, each.resource || "-"],
    ...[each.bytes, each.since, each.place || "-"],
  ]);
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  );
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, at) => escapeControls(cell).padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}

/** What a person is asked about. Throws NOT_FOUND `DATA_UNKNOWN`, INVALID_ARGUMENT `NAME_AMBIGUOUS`. */
export function chosenToDestroy(
  kept: readonly LocalKept[],
  instance: string,
  name: string,
): Readonly<{ instanceId: string; chosen: readonly LocalKept[] }> {
  const own = kept.filter((each) => [each.instanceId, each.instance].includes(instance));
  const ids = new Set(own.map(({ instanceId }) => instanceId));
  if (ids.size > 1) {
    const message = `${instance}: ${ids.size} instances had this name; give the id`;
    throw new Fault("INVALID_ARGUMENT", "NAME_AMBIGUOUS", message, { next: "holdfast-agent kept" });
  }
  const [id] = ids;
  const chosen = own.filter((each) => name === "" || each.name === name);
  // What an attempt may destroy is still in use, and so not in the list.
  if (name !== "" && isId(instance)) return { instanceId: instance, chosen };
  if (id === undefined || chosen.length === 0) {
    const what = name === "" ? "nothing" : `no ${shown(name)}`;
    const message = `instance ${shown(instance)}: ${what} is kept of it that nothing uses`;
    throw new Fault("NOT_FOUND", "DATA_UNKNOWN", message, { next: "holdfast-agent kept" });
  }
  return { instanceId: id, chosen };
}

export function destroyPrompt(
  { instanceId, chosen }: ReturnType<typeof chosenToDestroy>,
  instance: string,
): string {
  const what = chosen.map(
    ({ name, bytes, place }) => `  ${name}: ${bytes} bytes in ${place || "use"}\n`,
  );
  return `This destroys data of ${instance} (${instanceId}) for ever:\n${what.join("")}Type ${instance} to go on: `;
}
