/** Waits until a copy is ready to take over, or has failed, or its time is over. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Health, Live, LookScope, Wanted } from "../drivers/driver.ts";
import type { AttemptRun } from "./run.ts";
import {
  copiesOf,
  driverOf,
  HEALTH_MS_MAX,
  Interrupted,
  identityOf,
  outside,
  servingCopy,
  within,
} from "./work.ts";

/** Most programs are ready long before one interval has passed. */
const READY_PAUSE_MS_MIN = 5;
/** Of the time that it has taken so far: no program seems slower to start than it is by more than this. */
const READY_PAUSE_SHARE = 0.1;

const NONE: ReadonlySet<string> = new Set();

/** No copy in `replaced`, by identity, counts. Throws Interrupted with NOT_READY (it said so) or READY_DEADLINE. */
export async function waitUntilReady(
  run: AttemptRun,
  wanted: Wanted,
  replaced: ReadonlySet<string> = NONE,
): Promise<Live> {
  const { work } = run;
  const { resourceId } = wanted.key;
  const { deadlineMs, intervalMs } = driverOf(work, wanted.kind).readiness(wanted);
  const beganAt = work.clock.monotonic();
  const tookMs = () => work.clock.monotonic() - beganAt;
  let seen = "no copy was seen";
  for (;;) {
    run.safePoint();
    const found = await look(run, wanted, replaced);
    if (found?.health.state === "ready") return found.live;
    seen = found?.health.message ?? seen;
    run.tell(resourceId, `not ready yet: ${seen}`);
    if (found?.health.state === "failed") {
      throw new Interrupted("failed", "NOT_READY", `${resourceId}: ${seen}`);
    }
    if (tookMs() >= deadlineMs) {
      const message = `${resourceId}: not ready within ${deadlineMs} ms: ${seen}`;
      throw new Interrupted("failed", "READY_DEADLINE", message);
    }
    const pauseMs = Math.max(READY_PAUSE_MS_MIN, tookMs() * READY_PAUSE_SHARE);
    await work.clock.sleep(Math.min(intervalMs, pauseMs), work.signal);
  }
}

async function find(
  { work }: AttemptRun,
  { kind, digest, key }: Wanted,
  replaced: ReadonlySet<string>,
  scope: LookScope,
): Promise<Live | undefined> {
  const lives = await work.snapshots.freshOf(work.instanceId, kind, scope);
  const copies = copiesOf(lives, work.instanceId, key.resourceId);
  return servingCopy(
    copies.filter((copy) => !replaced.has(identityOf(copy))),
    digest,
  );
}

async function look(
  run: AttemptRun,
  wanted: Wanted,
  replaced: ReadonlySet<string>,
): Promise<Readonly<{ live: Live; health: Health }> | undefined> {
  const { work } = run;
  const { kind, key } = wanted;
  try {
    // What was started has left a record; where that is lost, its marks are looked for.
    const live =
      (await find(run, wanted, replaced, "recorded")) ?? (await find(run, wanted, replaced, "all"));
    if (live === undefined) return undefined;
    const health = await outside(`health of ${key.resourceId}`, () =>
      within(work, HEALTH_MS_MAX, `health of ${key.resourceId}`, (context) =>
        driverOf(work, kind).health(live, wanted, context),
      ),
    );
    return { live, health };
  } catch (error) {
    // A look that fails says nothing about the copy; the deadline bounds how often it is taken.
    if (error instanceof Interrupted || error instanceof Fault) return undefined;
    throw error;
  }
}
