/**
 * What an attempt would do, and why it may not begin: a missing driver or secret, a stale cell, a rule of the
 * customer. Looks, but changes nothing; also the answer to a rehearsal.
 */
import type { JsonValue } from "@bufbuild/protobuf";
import type { Freshness } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { driversFor } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import type { Hole } from "@holdfast/shared/blueprint/render.ts";
import { canonicalJson } from "@holdfast/shared/blueprint/rendered-digest.ts";
import { sha256 } from "@holdfast/shared/digest.ts";
import { Fault, invalid } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { JsonObject, Step } from "../drivers/driver.ts";
import type { Rendering } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { Hold } from "./decide.ts";
import { givenTo } from "./given.ts";
import { type Provisional, plannedOf, renderResource } from "./rendering.ts";
import { type Chosen, staysAsIs, stepsFor } from "./restart.ts";
import { stepsDigestOf } from "./steps-digest.ts";
import type { Target } from "./target.ts";
import { copiesOf, driverOf, plannedCommitted, servingCopy, type Work } from "./work.ts";

export type Plan = Readonly<{
  steps: readonly Step[];
  renderings: readonly Rendering[];
  /** By resource, what of its rendering waits for what others give out. */
  open: ReadonlyMap<string, readonly Hole[]>;
}>;

/** How long a wish counts as the latest where no freshness note says until when. */
export const FRESHNESS_LIFE_MS = 7 * 86_400_000;

/** Why nothing may change because the agent has not heard for too long what the latest is. */
export function judgeStale(
  note: Pick<Freshness, "signTime" | "expireTime"> | undefined,
  acceptedAt: number,
  now: number,
): Hold | undefined {
  const signed = note?.signTime === undefined ? acceptedAt : Number(note.signTime.seconds) * 1_000;
  const expire = note?.expireTime;
  const until = expire === undefined ? signed + FRESHNESS_LIFE_MS : Number(expire.seconds) * 1_000;
  if (now <= until) return undefined;
  const at = new Date(until).toISOString();
  return {
    reason: "STALE",
    message: `what the hub wants was confirmed until ${at}; changes wait for a newer note`,
  };
}

/** Why nothing new may begin because another process has this agent's identity: two of them would undo each other. */
export function judgeFrozen(since: number | undefined): Hold | undefined {
  if (since === undefined) return undefined;
  const at = new Date(since).toISOString();
  return {
    reason: "IDENTITY_FROZEN",
    message: `since ${at} the hub lets nobody in with this agent's identity, as two processes have it; changes wait for a takeover`,
  };
}

/**
 * Of everything that goes into an attempt: the wish and the customer's secrets. An attempt that failed is made
 * again once this differs.
 */
export function inputsDigestOf(work: Pick<Work, "secrets">, target: Target): string {
  const stamps = target.secretUses.map((use) => {
    // Local ones by the file that they are in, as agents did before there were others.
    const name = use.sealed === undefined ? use.localName : use.name;
    try {
      return `${name}=${work.secrets.stamp(target.instanceId, use)}`;
    } catch {
      return `${name}=`;
    }
  });
  const taken = Object.keys(target.given).length === 0 ? [] : [givenText(target)];
  const parts = [target.assignmentDigest, target.releaseDigest, ...stamps, ...taken];
  return `sha256:${Buffer.from(sha256(parts.join("\n"))).toString("hex")}`;
}

function givenText({ given }: Target): string {
  return canonicalJson(given as unknown as JsonValue);
}

/** A driver, a secret, an instance that is missing: holds, not failures. */
export function findHold(work: Work, target: Target): Hold | undefined {
  for (const template of target.templates) {
    for (const kind of driversFor(template)) {
      const why = work.missingDrivers.get(kind) ?? (work.drivers.has(kind) ? undefined : "unknown");
      if (why === undefined) continue;
      return { reason: "DRIVER_MISSING", message: `${template.id}: driver ${kind}: ${why}` };
    }
  }
  for (const use of target.secretUses) {
    try {
      work.secrets.stamp(target.instanceId, use);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const next = error.next === undefined ? "" : `; ${error.next}`;
      return { reason: error.reason, message: `${error.message}${next}` };
    }
  }
  return givenTo(work, target).hold;
}

/**
 * The steps as far as they are known, with typed holes where an output of another resource will stand.
 * Throws INVALID_ARGUMENT `SPEC_INVALID` for what a driver can never apply; UNAVAILABLE if a look failed.
 * `chosen`: those to be restarted, where it is that.
 */
export async function planAttempt(work: Work, target: Target, chosen?: Chosen): Promise<Plan> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const outputs = new Map<string, JsonObject>();
  const renderings: Rendering[] = [];
  const steps: Step[] = [];
  const open = new Map<string, readonly Hole[]>();
  for (const template of target.templates) {
    const { id, kind } = template;
    const provisional = renderResource(target, template, outputs);
    const { rendering } = provisional;
    const driver = driverOf(work, kind);
    judgeSpec(work, provisional, id);
    if (provisional.open.length > 0) open.set(id, provisional.open);
    const copies = copiesOf(await work.snapshots.of(work.instanceId, kind), work.instanceId, id);
    if (!staysAsIs(chosen, committed, id, rendering.digest)) {
      const last = plannedCommitted(work, committed, id, kind);
      const wanted = plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
      const now = work.clock.now();
      const plan = { chosen, committed, entries: [], copies, last, wanted, now };
      steps.push(...stepsFor(driver, plan));
      renderings.push(rendering);
    }
    const serving = servingCopy(copies, rendering.digest);
    if (serving !== undefined) outputs.set(id, serving.outputs);
  }
  const kept = new Set(target.templates.map(({ id, kind }) => `${kind}/${id}`));
  const gone = (committed?.resources ?? []).filter(({ id, kind }) => !kept.has(`${kind}/${id}`));
  for (const { id, kind } of gone.toReversed()) {
    const copies = copiesOf(await work.snapshots.of(work.instanceId, kind), work.instanceId, id);
    const last = plannedCommitted(work, committed, id, kind);
    steps.push(...driverOf(work, kind).steps(copies, last, undefined, work.clock.now()));
  }
  const inOrder = [
    ...steps.filter(({ when }) => when === "before-commit"),
    ...steps.filter(({ when }) => when === "after-commit").toReversed(),
  ];
  return { steps: inOrder, renderings, open };
}

/** A spec with holes is judged when they are filled: a hole is text where a number may be wanted. */
function judgeSpec(work: Work, { rendering, open }: Provisional, id: string): void {
  if (open.length > 0) return;
  const violations = driverOf(work, rendering.kind).check(rendering.spec, `${id}.spec`);
  if (violations.length > 0) throw invalid("SPEC_INVALID", violations);
}

/** Why the customer's rules do not allow it; undefined if they do. */
export function judgeConsent(work: Work, target: Target, plan: Plan): Hold | undefined {
  const resources = plan.renderings.map(({ resourceId: id, kind, spec }) => ({ id, kind, spec }));
  const { instanceId } = work;
  const { product } = target;
  const { steps } = plan;
  const stepsDigest = stepsDigestOf(plan);
  const answer = work.consent.judge({ instanceId, product, stepsDigest, steps, resources });
  if (answer.verdict === "allowed") return undefined;
  return {
    reason: answer.verdict === "held" ? "CONSENT_HELD" : "CONSENT_VETOED",
    message: `${formatGeneration(target.generation)}: ${answer.rule}: ${answer.message}`,
  };
}
