/**
 * Changing a part of an object: read it, change it, send it back with its etag; if somebody else was faster, again. So
 * that two people who change different parts at once both get theirs.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { Fault } from "@holdfast/shared/fault.ts";
import { at } from "./format.ts";
import type { ObjectCalls, ObjectView } from "./object-calls.ts";
import type { Terminal } from "./terminal.ts";

const TRIES_MAX = 5;

export type Modified = Readonly<{ before: ObjectView; after: ObjectView }>;

/** `change` gets the spec and gives the new one. Throws ABORTED `ETAG_MISMATCH` after TRIES_MAX changes in between. */
export async function modify(
  terminal: Terminal,
  calls: ObjectCalls,
  target: Readonly<{ name: string; tenant: string | undefined; isDryRun: boolean }>,
  change: (spec: JsonObject) => JsonObject,
): Promise<Modified> {
  for (let tries = 1; ; tries++) {
    const before = await calls.get(target.name, target.tenant);
    const spec = change((at(before, "spec") ?? {}) as JsonObject);
    const object = { metadata: before["metadata"] ?? {}, spec };
    try {
      const requestId = terminal.randomUuid();
      const after = await calls.apply(object, { requestId, isDryRun: target.isDryRun });
      return { before, after };
    } catch (error) {
      const isLate = error instanceof Fault && error.reason === "ETAG_MISMATCH";
      if (!isLate || tries >= TRIES_MAX) throw error;
    }
  }
}
