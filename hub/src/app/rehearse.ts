/**
 * Asks an agent what a change would do there. The change is made as any other, in a transaction that is always taken
 * back; what it would have signed is signed as a candidate instead, which no agent can take for a wish.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Instance,
  type RehearseInstanceRequest,
  type RehearseInstanceResponse,
  RehearseInstanceResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { CandidateSchema, type Rehearsal } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Assignment } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import { INSTANCES } from "../store/object-tables.ts";
import { find } from "../store/objects.ts";
import * as presence from "../store/presence.ts";
import type { Call } from "./caller.ts";
import { type AppDeps, newId } from "./deps.ts";
import { catalogueFor, required } from "./instances.ts";
import { instanceFrom } from "./kinds/instance.ts";
import { read, takenBack } from "./mutation.ts";
import { signedAssignment } from "./offer.ts";
import { REHEARSE_MS_MAX } from "./rehearsals.ts";
import { updateObject } from "./standard.ts";
import { unreachable } from "./unreachable.ts";

/** An agent's own journal has fewer steps. */
const STEPS_MAX = 1_000;
const LINES_MAX = 100;
const LINE_CHARS_MAX = 2_000;

/** Throws what the change would; and UNAVAILABLE or FAILED_PRECONDITION where there is no agent to ask. */
export async function rehearseInstance(
  deps: AppDeps,
  call: Call,
  request: RehearseInstanceRequest,
): Promise<RehearseInstanceResponse> {
  const message = required(request.instance);
  const catalogue = await catalogueFor(deps, call, message);
  const { instance, assignment } = await takenBack(deps, call, async (tx) => {
    const kind = instanceFrom(catalogue);
    const made = await updateObject({ deps, call, tx }, kind, message, true);
    const id = uuidOf("instance", made.metadata?.id ?? "");
    return { instance: made, assignment: await signedAssignment(tx, id) };
  });
  const { vendorId } = call.caller;
  const cellId = uuidOf("cell", assignment.cellId);
  const answer = await deps.rehearsals.ask(
    {
      id: newId(deps.clock),
      cell: { vendorId, cellId },
      releaseDigest: assignment.releaseDigest,
      candidate: candidateOf(deps, vendorId, assignment),
    },
    call.signal,
  );
  const after = await read(deps, call, async (tx) => ({
    isNew: (await find(tx, INSTANCES, keyOf(assignment), false)).length === 0,
    agent: (await presence.ofCells(tx, [cellId])).get(cellId),
  }));
  if (answer === undefined) {
    throw unreachable(instance.spec?.cell ?? "", after.agent, "a rehearsal");
  }
  return responseOf(answer, instance, after.isNew);
}

function keyOf({ instanceId }: Assignment) {
  return { id: uuidOf("instance", instanceId) };
}

function candidateOf(deps: AppDeps, vendorId: string, assignment: Assignment): Envelope {
  const expireTime = timestampFromMs(deps.clock.now() + REHEARSE_MS_MAX);
  const payload = toBinary(CandidateSchema, create(CandidateSchema, { assignment, expireTime }));
  return signEnvelope("rehearsal", payload, [deps.keysOf(vendorId).assignmentKey]);
}

function responseOf(
  { steps, holds, missing, reason, message, stepsDigest, notAtomic }: Rehearsal,
  instance: Instance,
  isNew: boolean,
): RehearseInstanceResponse {
  if (reason !== "") {
    const said = `${cut(reason)}: ${cut(message)}`;
    throw new Fault("FAILED_PRECONDITION", "REHEARSAL_REFUSED", `the agent says ${said}`);
  }
  return create(RehearseInstanceResponseSchema, {
    ...{ instance, isNew },
    cell: instance.spec?.cell ?? "",
    steps: steps.slice(0, STEPS_MAX).map(({ stepClass, afterCommit, ...step }) => ({
      ...{ id: cut(step.id), resource: cut(step.resource), verb: cut(step.verb), stepClass },
      ...{ summary: cut(step.summary), undo: cut(step.undo), afterCommit },
    })),
    holds: holds.slice(0, LINES_MAX).map(cut),
    missing: missing.slice(0, LINES_MAX).map(cut),
    stepsDigest: cut(stepsDigest),
    notAtomic: notAtomic.slice(0, LINES_MAX).map(cut),
  });
}

function cut(text: string): string {
  return escapeControls(text).slice(0, LINE_CHARS_MAX);
}
