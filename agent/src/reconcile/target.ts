/** What an instance is to be, decoded from the signed bytes that the agent keeps: wanted, or committed. */
import { fromBinary, type JsonObject as MessageJson } from "@bufbuild/protobuf";
import {
  type Assignment,
  AssignmentSchema,
  type DriftPolicy,
  type InstanceReference,
  RunState,
  type SecretReference,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import {
  type Artefact,
  type Blueprint,
  BlueprintSchema,
  type ResourceTemplate,
} from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { impliedDependencies } from "@holdfast/shared/blueprint/expressions.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { type Generation, generationOf } from "@holdfast/shared/generation.ts";
import type { JsonObject } from "../drivers/driver.ts";
import type { SecretUse } from "../secrets/secrets.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import type { Given } from "./given.ts";
import { inDependencyOrder } from "./order.ts";
import { secretsOf } from "./secret-uses.ts";

export type Target = Readonly<{
  instanceId: string;
  instanceName: string;
  product: string;
  generation: Generation;
  assignmentDigest: string;
  /** The assignment's payload, as signed. */
  assignment: Uint8Array;
  releaseDigest: string;
  releaseVersion: string;
  tombstone: boolean;
  /** False: nothing of it is to run, and nothing is lost. */
  isRunning: boolean;
  parameters: JsonObject;
  facts: JsonObject;
  driftPolicy: DriftPolicy;
  secrets: readonly SecretReference[];
  /** Which instances stand for those that the blueprint names. */
  instances: readonly InstanceReference[];
  /** What those give out; of a wish nothing before it is asked for. */
  given: Given;
  /** Those that the templates name, each once. */
  secretUses: readonly SecretUse[];
  /** Undefined for a tombstone. */
  blueprint: Blueprint | undefined;
  /** In dependency order; empty where nothing is to run. */
  templates: readonly ResourceTemplate[];
  artefacts: ReadonlyMap<string, Artefact>;
}>;

/** The newest accepted wish. Undefined if the instance is not known. */
export function findWanted(store: Store, instanceId: string): Target | undefined {
  return store.kept(instanceId, "assignment wanted", () => {
    const held = assignments.find(store, instanceId);
    return held === undefined ? undefined : targetOf(store, held.envelope.payload);
  });
}

/** What serves. Undefined before the first commit. */
export function findServing(store: Store, instanceId: string): Target | undefined {
  return store.kept(instanceId, "committed serving", () => {
    const committed = attempts.findCommitted(store, instanceId);
    if (committed === undefined) return undefined;
    return { ...targetOf(store, committed.assignment), given: committed.given };
  });
}

/** From an assignment's payload; its release must be in the store. */
function targetOf(store: Store, payload: Uint8Array): Target {
  const assignment = fromBinary(AssignmentSchema, payload);
  const isTombstone = assignment.tombstone !== undefined;
  const blueprint = isTombstone ? undefined : blueprintOf(store, assignment.releaseDigest);
  return targetFrom(assignment, payload, blueprint);
}

/** `payload`: the assignment as signed. `blueprint`: of its release; undefined for a tombstone. */
export function targetFrom(
  assignment: Assignment,
  payload: Uint8Array,
  blueprint: Blueprint | undefined,
): Target {
  const tombstone = assignment.tombstone !== undefined;
  const isRunning = !tombstone && assignment.runState !== RunState.STOPPED;
  const templates = isRunning ? inDependencyOrder(blueprint?.resources ?? [], needsOf) : [];
  return {
    instanceId: assignment.instanceId,
    instanceName: assignment.instanceName,
    product: assignment.product,
    generation: generationOf(assignment.generation),
    assignmentDigest: digestOf(payload),
    assignment: payload,
    releaseDigest: assignment.releaseDigest,
    releaseVersion: assignment.releaseVersion,
    tombstone,
    isRunning,
    parameters: jsonOf(assignment.parameters),
    facts: jsonOf(assignment.facts),
    driftPolicy: assignment.driftPolicy,
    secrets: assignment.secrets,
    instances: assignment.instances,
    given: {},
    secretUses: secretsOf(templates, assignment.secrets),
    blueprint,
    templates,
    artefacts: new Map(blueprint?.artefacts.map((artefact) => [artefact.name, artefact])),
  };
}

/** Decoded once for all instances that have it. */
function blueprintOf(store: Store, releaseDigest: string): Blueprint {
  const blueprint = store.keptShared(`blueprint ${releaseDigest}`, () => {
    const release = assignments.findRelease(store, releaseDigest);
    return release && fromBinary(BlueprintSchema, release.payload);
  });
  if (blueprint !== undefined) return blueprint;
  throw new Fault("INTERNAL", "RELEASE_LOST", `release ${releaseDigest} is not in the store`);
}

/** What a template says it depends on, and whose outputs it names. */
export function needsOf({ dependsOn, spec }: ResourceTemplate): readonly string[] {
  return [...dependsOn, ...impliedDependencies(spec ?? {})];
}

function jsonOf(struct: MessageJson | undefined): JsonObject {
  return (struct ?? {}) as JsonObject;
}
