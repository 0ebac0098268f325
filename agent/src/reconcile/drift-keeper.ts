/**
 * Looks after the drift of one instance between attempts: says what others changed, and brings it back where the
 * policy says so. Has no look of its own; in memory is only how often what was brought back.
 */
import { DriftPolicy } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import * as attempts from "../store/attempts.ts";
import * as adoptions from "../store/drift-adoptions.ts";
import type { Hold } from "./decide.ts";
import {
  DIFFERENCES_MAX,
  type DriftView,
  differencesDigest,
  driftHold,
  type Finding,
  quarrelText,
  type Reverted,
  revertedAgain,
  shownValue,
} from "./drift.ts";
import { type Compared, type ComparedBefore, compareAll } from "./find-drift.ts";
import { servingOutputs } from "./publish.ts";
import { plannedOf, renderResource } from "./rendering.ts";
import { judgeRevert, runRevert } from "./revert.ts";
import { findWanted } from "./target.ts";
import { driverOf, type Work } from "./work.ts";

export class DriftKeeper {
  readonly #work: Work;
  readonly #before: ComparedBefore = new Map();
  readonly #reverted = new Map<string, Reverted>();
  #view: DriftView | undefined;
  /** From what the view was made. */
  #seen: readonly Compared[] = [];
  #policy: DriftPolicy | undefined;
  #adoptions: readonly adoptions.Adoption[] = [];

  constructor(work: Work) {
    this.#work = work;
  }

  /** Undefined before the first look. */
  view(): DriftView | undefined {
    return this.#view;
  }

  /** Why no attempt may begin, as far as the last look tells. */
  async hold(): Promise<Hold | undefined> {
    await this.#look(compareAll(this.#work, this.#before), []);
    return driftHold(this.#view);
  }

  /** `mayTouch`: whether a resource may be repaired. Wall clock, ms, of when something is to be done again. */
  async lookAfter(mayTouch: (resourceId: string) => boolean): Promise<number | undefined> {
    const { store, instanceId, clock } = this.#work;
    const compared = compareAll(this.#work, this.#before);
    const notes: string[] = [];
    let nextAt: number | undefined;
    const isReverting = policyOf(this.#work) === DriftPolicy.REVERT;
    const adopted = adoptions.list(store, instanceId);
    for (const each of isReverting ? compared : []) {
      const isOpen = each.differences.length > 0 && !isAdopted(this.#work, adopted, each);
      if (!isOpen || !mayTouch(each.id)) continue;
      const last = this.#reverted.get(each.id);
      if (last !== undefined && last.notBefore > clock.now()) {
        notes.push(quarrelText(each.id, last));
        nextAt = Math.min(last.notBefore, nextAt ?? last.notBefore);
        continue;
      }
      const problem = await this.#revert(each);
      if (problem !== undefined) notes.push(problem);
    }
    await this.#look(compareAll(this.#work, this.#before), notes);
    return nextAt;
  }

  /** Why it was not brought back. */
  async #revert(compared: Compared): Promise<string | undefined> {
    const { id, kind, live, applied } = compared;
    const steps = driverOf(this.#work, kind).revert(live, applied);
    const problem = judgeRevert(this.#work, steps);
    if (problem !== undefined) return `${id}: ${problem.reason}: ${problem.message}`;
    this.#reverted.set(id, revertedAgain(this.#reverted.get(id), this.#work.clock.now()));
    try {
      await runRevert(this.#work, compared, steps);
      return undefined;
    } catch (error) {
      if (this.#work.signal.aborted) return undefined;
      this.#work.log.warn({ resource: id, error: causeChain(error) }, "revert failed");
      const why = error instanceof Fault ? `${error.reason}: ${error.message}` : causeChain(error);
      return `${id} could not be brought back: ${why}`;
    }
  }

  async #look(compared: readonly Compared[], notes: readonly string[]): Promise<void> {
    const { store, instanceId } = this.#work;
    const committed = attempts.findCommitted(store, instanceId);
    if (compared.length === 0 && committed?.resources.length !== 0) {
      // Nothing was looked at since the commit: what was true of the copies before is not of these.
      if (committed?.isRunning !== true || this.#seen.length > 0) this.#view = undefined;
      this.#seen = compared;
      return;
    }
    const note = notes.join("; ");
    const policy = policyOf(this.#work);
    const adopted = adoptions.list(store, instanceId);
    const isSame =
      this.#view?.note === note &&
      this.#policy === policy &&
      this.#adoptions === adopted &&
      compared.length === this.#seen.length &&
      compared.every((each, index) => each === this.#seen[index]);
    this.#seen = compared;
    this.#policy = policy;
    if (isSame) return;
    this.#forgetChanged(compared, adopted);
    this.#adoptions = adoptions.list(store, instanceId);
    // What is open is never beyond the cut: by it the policy decides.
    const findings = (await this.#findings(compared, this.#adoptions)).toSorted(
      (a, b) => Number(a.isAdopted) - Number(b.isAdopted),
    );
    this.#view = {
      ...{ policy, note },
      findings: findings.slice(0, DIFFERENCES_MAX),
      leftOut: Math.max(0, findings.length - DIFFERENCES_MAX),
    };
  }

  /** What was accepted was accepted as it was. */
  #forgetChanged(compared: readonly Compared[], adopted: readonly adoptions.Adoption[]): void {
    for (const each of compared) {
      const isHeld = adopted.some(({ resourceId }) => resourceId === each.id);
      if (!isHeld || isAdopted(this.#work, adopted, each)) continue;
      adoptions.forget(this.#work.store, this.#work.instanceId, each.id);
    }
  }

  async #findings(
    compared: readonly Compared[],
    adopted: readonly adoptions.Adoption[],
  ): Promise<readonly Finding[]> {
    const drifted = compared.filter(({ differences }) => differences.length > 0);
    if (drifted.length === 0) return [];
    const salt = adoptions.salt(this.#work.store);
    const desiredOf = await this.#desired();
    return drifted.flatMap((each) => {
      const { id, applied, differences } = each;
      const isAccepted = isAdopted(this.#work, adopted, each);
      const desired = desiredOf(each);
      return differences.map(({ path, applied: before, live }): Finding => {
        const show = (value: typeof live) =>
          shownValue(value, path, applied.secretTexts ?? [], salt);
        const wish = desired === "same" ? before : desired && (desired.get(path) ?? live);
        return {
          ...{ resource: id, path, isAdopted: isAccepted },
          desired: wish === undefined ? undefined : show(wish),
          applied: show(before),
          live: show(live),
        };
      });
    });
  }

  /** What the newest accepted generation wants of the fields that differ from it. */
  async #desired() {
    const work = this.#work;
    const target = findWanted(work.store, work.instanceId);
    const committed = attempts.findCommitted(work.store, work.instanceId);
    const isSame = target?.assignmentDigest === committed?.assignmentDigest;
    const outputs = isSame ? new Map() : await servingOutputs(work).catch(() => new Map());
    return ({ id, kind, live }: Compared) => {
      if (isSame || target === undefined) return "same" as const;
      const template = target.templates.find((each) => each.id === id && each.kind === kind);
      if (template === undefined) return undefined;
      const { rendering, open } = renderResource(target, template, outputs);
      if (open.length > 0) return undefined;
      const wanted = plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
      const differences = driverOf(work, kind).drift(live, wanted);
      return new Map(differences.map(({ path, applied }) => [path, applied]));
    };
  }
}

/** Of the newest accepted wish: whoever changes it decides about what is held. */
export function policyOf({ store, instanceId }: Work): DriftPolicy {
  const policy = findWanted(store, instanceId)?.driftPolicy;
  return policy === undefined || policy === DriftPolicy.UNSPECIFIED ? DriftPolicy.REPORT : policy;
}

function isAdopted(
  { store, instanceId }: Work,
  adopted: readonly adoptions.Adoption[],
  { id, differences }: Compared,
): boolean {
  const found = adopted.find(({ resourceId }) => resourceId === id);
  if (found === undefined) return false;
  const committed = attempts.findCommitted(store, instanceId)?.generation;
  const isSameGeneration =
    committed?.incarnation === found.generation.incarnation &&
    committed.number === found.generation.number;
  return isSameGeneration && found.digest === differencesDigest(differences);
}
