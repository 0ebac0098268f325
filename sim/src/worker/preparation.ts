/**
 * Gives every agent of a worker a cell, an identity and an instance, through the API and the identity listener that
 * everybody has. What is there already is left as it is.
 */
import type { Enrolled } from "@holdfast/agent/src/enroll.ts";
import type { HubClient } from "@holdfast/cli/src/hub-client.ts";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { RunState } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Enroller } from "./enroller.ts";
import type { IdentityFiles } from "./identity-file.ts";
import type { InstanceWish } from "./messages.ts";

/** Agents that a worker prepares at once. */
const AT_ONCE = 8;
const TRIES_MAX = 6;
const RETRY = { baseMs: 200, capMs: 3_000 };

export type PreparationDeps = Readonly<{
  hub: HubClient;
  enroller: Enroller;
  files: IdentityFiles;
  wish: InstanceWish | undefined;
  clock: Clock;
  random: Random;
  randomUuid(): string;
  signal: AbortSignal;
  progress(prepared: number): void;
}>;

/** In the order of the names. Throws the first fault that trying again did not help. */
export async function prepareAll(
  deps: PreparationDeps,
  names: readonly string[],
): Promise<readonly Enrolled[]> {
  const prepared: Enrolled[] = [];
  let next = 0;
  let done = 0;
  const lane = async () => {
    while (next < names.length && !deps.signal.aborted) {
      const at = next++;
      const name = names[at] ?? "";
      prepared[at] = await prepare(deps, name);
      deps.progress(++done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return prepared;
}

async function prepare(deps: PreparationDeps, name: string): Promise<Enrolled> {
  const { files, wish } = deps;
  const known = files.find(name);
  if (known === undefined) await tried(deps, () => createCell(deps, name));
  // A token that a lost answer has used up is not tried again: each try has one of its own.
  const enrolled = known ?? (await tried(deps, () => join(deps, name)));
  if (known === undefined) files.put(name, enrolled);
  if (wish !== undefined) await tried(deps, () => createInstance(deps, name, wish));
  return enrolled;
}

async function createCell({ hub, randomUuid }: PreparationDeps, name: string): Promise<void> {
  const spec = { kind: CellKind.HOSTED, region: "simulated" };
  const cell = { metadata: { name }, spec };
  const request = { cell, requestId: randomUuid() };
  await unlessThere(hub.call(() => hub.client(CellService).createCell(request)));
}

async function join({ hub, enroller, randomUuid, signal }: PreparationDeps, name: string) {
  const request = { cell: name, requestId: randomUuid() };
  const { joinToken } = await hub.call(() => hub.client(CellService).createJoinToken(request));
  return await enroller.enroll(joinToken, name, signal);
}

async function createInstance(
  { hub, randomUuid }: PreparationDeps,
  name: string,
  { product, release, plan, environment, parameters }: InstanceWish,
): Promise<void> {
  const spec = { product, release, plan, environment, cell: name };
  const instance = {
    metadata: { name },
    spec: { ...spec, parameters: { ...parameters }, runState: RunState.RUNNING },
  };
  const request = { instance, requestId: randomUuid() };
  await unlessThere(hub.call(() => hub.client(InstanceService).createInstance(request)));
}

async function unlessThere(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "ALREADY_EXISTS") throw error;
  }
}

async function tried<Result>(
  { clock, random, signal }: PreparationDeps,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let failures = 0; ; failures++) {
    try {
      return await work();
    } catch (error) {
      const isBusy =
        error instanceof Fault && (error.retryable || error.code === "RESOURCE_EXHAUSTED");
      if (!isBusy || failures + 1 >= TRIES_MAX || signal.aborted) throw error;
      await clock.sleep(RETRY.baseMs + fullJitter(RETRY, failures, random), signal);
    }
  }
}
