/**
 * What a person decides about drift, by order: accept what is there, or bring back what was applied. Both look anew
 * first. Done again after a crash they find what they did.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as attempts from "../store/attempts.ts";
import * as adoptions from "../store/drift-adoptions.ts";
import { differencesDigest } from "./drift.ts";
import { type Compared, compareAnew } from "./find-drift.ts";
import { judgeRevert, runRevert } from "./revert.ts";
import { driverOf, type Work } from "./work.ts";

/** HELD: a rule of the customer may let it pass later. */
export type DriftVerdict = Readonly<{
  state: "DONE" | "FAILED" | "REFUSED" | "HELD";
  reason: string;
  message: string;
}>;

/** Accepts the live values of a resource, or of all, until they change again or another generation is committed. */
export async function adoptDrift(work: Work, resource: string): Promise<DriftVerdict> {
  const chosen = await drifted(work, resource);
  if ("state" in chosen) return chosen;
  const committed = attempts.findCommitted(work.store, work.instanceId);
  if (committed === undefined) return refused("NOTHING_RUNS", "nothing of it is installed");
  const { generation } = committed;
  work.store.transaction(() => {
    for (const { id, differences } of chosen.drifted) {
      const adoption = { resourceId: id, generation, digest: differencesDigest(differences) };
      adoptions.put(work.store, work.instanceId, adoption, work.clock.now());
    }
  });
  return done("ADOPTED", `${textOf(chosen.drifted)}: accepted as it is`);
}

/** Also of what was adopted before. */
export async function revertDrift(work: Work, resource: string): Promise<DriftVerdict> {
  const chosen = await drifted(work, resource);
  if ("state" in chosen) return chosen;
  const plans = chosen.drifted.map((compared) => {
    const { kind, live, applied } = compared;
    return { compared, steps: driverOf(work, kind).revert(live, applied) };
  });
  for (const { compared, steps } of plans) {
    const problem = judgeRevert(work, steps);
    if (problem === undefined) continue;
    const { reason, message, isHeld } = problem;
    const verdict = refused(reason, `${compared.id}: ${message}`);
    return isHeld ? { ...verdict, state: "HELD" } : verdict;
  }
  for (const { compared, steps } of plans) {
    await runRevert(work, compared, steps);
    adoptions.forget(work.store, work.instanceId, compared.id);
  }
  const left = await drifted(work, resource);
  if ("state" in left) return done("REVERTED", `${textOf(chosen.drifted)}: as applied again`);
  const message = `${textOf(left.drifted)}: still not as applied`;
  return { state: "FAILED", reason: "DRIFT_REMAINS", message };
}

/** Those of the chosen resources that have drifted, or why there are none. */
async function drifted(
  work: Work,
  resource: string,
): Promise<DriftVerdict | Readonly<{ drifted: readonly Compared[] }>> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  if (committed?.isRunning !== true) return refused("NOTHING_RUNS", "nothing of it is to run");
  const ids = committed.resources.map(({ id }) => id);
  if (resource !== "" && !ids.includes(resource)) {
    const message = `got ${shown(resource)}; it consists of ${ids.join(", ")}`;
    return refused("RESOURCE_UNKNOWN", message);
  }
  const compared = await compareAnew(work);
  const isChosen = ({ id }: Compared) => resource === "" || id === resource;
  const found = compared.filter((each) => isChosen(each) && each.differences.length > 0);
  if (found.length > 0) return { drifted: found };
  const unseen = ids.filter((id) => !compared.some((each) => each.id === id));
  if (unseen.length > 0 && (resource === "" || unseen.includes(resource))) {
    const message = `${unseen.join(", ")}: no copy serves that could be compared`;
    throw new Fault("UNAVAILABLE", "DRIFT_UNKNOWN", message);
  }
  return refused("NOTHING_DRIFTED", "everything is as it was applied");
}

function textOf(compared: readonly Compared[]): string {
  return compared
    .map(({ id, differences }) => `${id} ${differences.map(({ path }) => path).join(", ")}`)
    .join("; ");
}

function done(reason: string, message: string): DriftVerdict {
  return { state: "DONE", reason, message };
}

function refused(reason: string, message: string): DriftVerdict {
  return { state: "REFUSED", reason, message };
}
