/**
 * What an instance takes from others of this cell: outputs that they published with their last commit. Which ones they
 * are the hub says, of which product and what is taken the release does, and both are judged here: what does not fit is
 * a hold, never a guess.
 */
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { InstanceDependency } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { outputsProblem } from "@holdfast/shared/blueprint/instances.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonObject, JsonValue } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { Hold } from "./decide.ts";
import { outputsFile } from "./published.ts";
import type { Target } from "./target.ts";
import type { Work } from "./work.ts";

/** By the name that the release gives it. */
export type Given = Readonly<Record<string, Readonly<{ outputs: JsonObject }>>>;

export type Taken = Readonly<{
  /** Without what cannot be had now. */
  given: Given;
  hold: Hold | undefined;
}>;

type Ground = Pick<Work, "store" | "context">;

export function givenTo(work: Ground, target: Target): Taken {
  const given: Record<string, { outputs: JsonObject }> = {};
  let hold: Hold | undefined;
  for (const asked of target.blueprint?.instances ?? []) {
    const found = takenFrom(work, target, asked);
    if ("problem" in found) {
      hold ??= { reason: "DEPENDENCY", message: `instance ${asked.name}: ${found.problem}` };
    } else given[asked.name] = found;
  }
  return { given, hold };
}

/** Whether something else is given now than what was committed. What cannot be had now changes nothing. */
export function isOutdated({ given, hold }: Taken, committed: attempts.Committed): boolean {
  if (hold !== undefined || !committed.isRunning) return false;
  return !isDeepStrictEqual(given, committed.given);
}

type Found = Readonly<{ outputs: JsonObject }> | Readonly<{ problem: string }>;

function takenFrom(
  { store, context }: Ground,
  target: Target,
  { name, product, outputs: asked }: InstanceDependency,
): Found {
  const reference = target.instances.find((each) => each.name === name);
  if (reference === undefined) return { problem: "the assignment names none that stands for it" };
  const { instanceId, instanceName } = reference;
  const who = `${shown(instanceName)} (${shown(instanceId)})`;
  const held = assignments.find(store, instanceId);
  if (instanceId === target.instanceId) return { problem: `${who} is the instance itself` };
  if (held === undefined || held.removed) return { problem: `${who} is not in this cell` };
  const committed = attempts.findCommitted(store, instanceId);
  if (committed === undefined) return { problem: `${who} has not committed yet` };
  const its = fromBinary(AssignmentSchema, committed.assignment).product;
  if (its !== product)
    return { problem: `${who} is of product ${shown(its)}; allowed: ${product}` };
  if (!committed.isRunning) return { problem: `${who} is stopped` };
  const published = readPublished(outputsFile(context.directories(instanceId).seatsFile));
  if (published?.generation !== formatGeneration(committed.generation)) {
    return { problem: `${who} has not published its outputs yet` };
  }
  const problem = outputsProblem(asked, published.outputs as never);
  if (problem !== undefined) return { problem: `${who}: ${problem}` };
  const names = Object.keys(asked).sort();
  const taken = names.map((each) => [each, published.outputs[each] as JsonValue] as const);
  return { outputs: Object.fromEntries(taken) };
}

function readPublished(
  path: string,
): Readonly<{ generation: string; outputs: JsonObject }> | undefined {
  try {
    const { generation, outputs } = JSON.parse(readFileSync(path, "utf8"));
    const isFit = typeof generation === "string" && typeof outputs === "object" && outputs !== null;
    return isFit ? { generation, outputs } : undefined;
  } catch {
    // Not written yet, or being replaced by hand: it is looked at again.
    return undefined;
  }
}
