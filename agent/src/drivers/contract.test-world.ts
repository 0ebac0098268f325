/** What the contract suite does with a driver's scenario: brings copies up, carries steps out, looks. */
import type {
  Driver,
  DriverContext,
  Live,
  Step,
  StepContext,
  StepOrder,
  Wanted,
} from "./driver.ts";

export type DriverScenario = Readonly<{
  /** A new object each time. */
  driver(): Driver;
  context: DriverContext;
  /** Two renderings of one resource with different digests. Both become ready. */
  first: Wanted;
  second: Wanted;
  /** The same resource of another instance. */
  neighbour: Wanted;
  /** Ways in which a crash can leave a start half done: brings them about for an order that was not run yet. */
  crashes: readonly Readonly<{ name: string; leave(order: StepOrder): Promise<void> }>[];
  /** Leaves data of this instance as its work would, under this name; absent where the kind holds none. */
  holdData?(instanceId: string): Promise<string>;
  /** Changes one field of a copy of `first` that the driver owns, as a person would by hand; absent if it owns none. */
  meddle?(live: Live): Promise<string> | string;
  /** Changes something on or beside a copy that the driver does not own. */
  touch?(live: Live): Promise<void> | void;
  /** Ends all work and removes everything. */
  end(): Promise<void>;
}>;

const READY_MS_MAX = 60_000;
const LOOK_AGAIN_MS = 20;

/** The copy that serves a rendering, looked at as a whole. */
export async function lookAt({ driver, context }: DriverScenario, wanted: Wanted): Promise<Live> {
  const found = (await driver().observe(context)).findLast(
    ({ key, digest, phase }) =>
      key.instanceId === wanted.key.instanceId && digest === wanted.digest && phase !== "stopping",
  );
  if (found === undefined) throw new Error("it is not there any more");
  return found;
}

export function fresh(driver: Driver, wanted: Wanted): readonly Step[] {
  return driver.steps([], undefined, wanted, 1_000);
}

export function now({ context }: DriverScenario): number {
  return context.clock.now();
}

export function stepContext({ context }: DriverScenario, known: readonly Wanted[]): StepContext {
  return {
    ...context,
    wanted: async (digest) => {
      const found = known.find((each) => each.digest === digest);
      if (found === undefined) throw new Error(`no rendering with digest ${digest}`);
      return found;
    },
  };
}

export async function carryOut(
  its: DriverScenario,
  steps: readonly Step[],
  known: readonly Wanted[],
) {
  const outcomes = [];
  for (const step of steps) {
    await its.context.clock.sleep(Math.max(0, (step.notBefore ?? 0) - now(its)));
    outcomes.push(await its.driver().run(step, stepContext(its, known)));
  }
  return outcomes;
}

/** A ready copy. `alone`: started as if nothing else were there, so that an older one becomes a stray. */
export async function serving(
  its: DriverScenario,
  wanted: Wanted,
  how = { alone: false },
): Promise<Live> {
  const { context } = its;
  const there = how.alone ? [] : await its.driver().observe(context);
  const own = there.filter(({ key }) => key.instanceId === wanted.key.instanceId);
  await its.driver().prepare(wanted, context);
  await carryOut(its, its.driver().steps(own, undefined, wanted, now(its)), [wanted]);
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const live = (await its.driver().observe(context)).find(
      ({ key, digest }) => digest === wanted.digest && key.instanceId === wanted.key.instanceId,
    );
    const health = live && (await its.driver().health(live, wanted, context));
    if (live !== undefined && health?.state === "ready") return live;
    if (performance.now() > deadline)
      throw new Error(`never ready: ${health?.message ?? "not there"}`);
    await context.clock.sleep(LOOK_AGAIN_MS);
  }
}
