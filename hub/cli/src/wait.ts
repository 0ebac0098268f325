/** Waiting with a deadline: asks again and again, tells a person what it waits for, and ends with the right code. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { conditionsOf } from "./conditions.ts";
import { REASON } from "./exit-codes.ts";
import type { ObjectCalls, ObjectView } from "./object-calls.ts";
import { judgeProgress, type Progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

const POLL_MS = 250;
export const WAIT_MS_DEFAULT = 300_000;
export const WAIT_MS_MAX = 86_400_000;

export type WaitTarget = Readonly<{
  name: string;
  tenant: string | undefined;
  timeoutMs: number;
}>;

/** What to wait for: a condition with a status, that an instance serves what is wanted, or that it is gone. */
export type WaitFor = Readonly<{ condition: string; status: string }> | "progress" | "delete";

type Look = Readonly<{ done: boolean; why: string }>;

/**
 * Throws `WAIT_TIMEOUT`, `ROLLED_BACK`, `PARTIAL`, `HELD_BY_CONSENT`, `STATE_REFUSED`, or NOT_FOUND. Once it has seen the
 * object it waits through outages of the hub as well.
 */
export async function waitFor(
  terminal: Terminal,
  calls: ObjectCalls,
  target: WaitTarget,
  what: WaitFor,
): Promise<ObjectView | undefined> {
  const subject = `${calls.kind.name}/${target.name}`;
  const deadline = terminal.clock.monotonic() + target.timeoutMs;
  const seen = await fetchObject(calls, target, what);
  const next = describeCommand(calls, target);
  let look = lookAt(seen, what, subject, next);
  let view = seen;
  let said = "";
  while (!look.done) {
    if (look.why !== said && look.why !== "" && terminal.isInteractive) {
      terminal.err(`${subject}: ${look.why}\n`);
    }
    said = look.why;
    if (terminal.signal.aborted) {
      throw new Fault("CANCELLED", "INTERRUPTED", `${subject}: interrupted while waiting`);
    }
    if (terminal.clock.monotonic() >= deadline) throw late(calls, target, what, look.why);
    await terminal.clock.sleep(POLL_MS, terminal.signal);
    try {
      view = await fetchObject(calls, target, what);
      look = lookAt(view, what, subject, next);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "UNAVAILABLE") throw error;
      look = { done: false, why: `${error.message}; still waiting` };
    }
  }
  return view;
}

function fetchObject(
  calls: ObjectCalls,
  { name, tenant }: WaitTarget,
  what: WaitFor,
): Promise<ObjectView | undefined> {
  return what === "delete" ? calls.find(name, tenant) : calls.get(name, tenant);
}

function late(calls: ObjectCalls, target: WaitTarget, what: WaitFor, why: string): Fault {
  const seconds = target.timeoutMs / 1_000;
  const last = why === "" ? "" : `; last: ${why}`;
  return new Fault(
    "DEADLINE_EXCEEDED",
    REASON.waitTimeout,
    `${calls.kind.name}/${target.name}: not ${describe(what)} within ${seconds} s${last}`,
    { next: describeCommand(calls, target) },
  );
}

export function describeCommand(
  { kind }: Pick<ObjectCalls, "kind">,
  { name, tenant }: Pick<WaitTarget, "name" | "tenant">,
): string {
  const whose = tenant === undefined || !kind.isTenants ? "" : ` --tenant ${tenant}`;
  return `holdfast describe ${kind.name} ${name}${whose}`;
}

function describe(what: WaitFor): string {
  if (what === "delete") return "gone";
  return what === "progress" ? "serving what is wanted" : `${what.condition}=${what.status}`;
}

/** An instance is judged with its generation: a failed attempt would otherwise be waited for until the timeout. */
function lookAt(view: ObjectView | undefined, what: WaitFor, subject: string, next: string): Look {
  if (view === undefined) return { done: true, why: "gone" };
  if (what === "delete") return { done: false, why: "on its way out" };
  if (what === "progress") {
    const progress = judgeProgress(view);
    refuseFailed(progress, subject, next);
    return { done: progress.state === "done", why: progress.why };
  }
  const isOfGeneration = what.status === "True" && ["Ready", "InSync"].includes(what.condition);
  if (subject.startsWith("instance/") && isOfGeneration) {
    const progress = judgeProgress(view);
    refuseFailed(progress, subject, next);
    if (progress.state !== "done") return { done: false, why: progress.why };
  }
  const lines = conditionsOf(view);
  const found = lines.find(({ type }) => type === what.condition);
  if (found === undefined) {
    const known = lines.map(({ type }) => type).join(", ") || "none";
    return { done: false, why: `has no condition ${shown(what.condition)} yet; it has: ${known}` };
  }
  const why = found.message === "" ? found.reason : found.message;
  return { done: found.status === what.status, why: `${found.type}=${found.status} ${why}` };
}

function refuseFailed({ state, why }: Progress, subject: string, next: string): void {
  const fault = (reason: string, text: string) =>
    new Fault("FAILED_PRECONDITION", reason, `${subject}: ${text}: ${why}`, { next });
  if (state === "rolledBack") {
    throw fault(REASON.rolledBack, "the attempt failed and was rolled back");
  }
  if (state === "partial") {
    throw fault(REASON.partial, "the attempt failed after a step that nothing takes back");
  }
  if (state === "held") throw fault(REASON.held, "held by the customer's rules");
  if (state === "refused") throw fault("STATE_REFUSED", "the agent refused it");
}
