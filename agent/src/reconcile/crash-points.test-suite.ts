/**
 * What every driver must stand, as tests: the agent dies at every journal write of an attempt, before and after it, and
 * before and after every effect of the driver; then once more inside the recovery. Each time the next life ends in the
 * old or the new generation, nothing is left over, the journal is empty, and where the driver is atomic whoever serves
 * answered every request meanwhile. Nothing here knows a kind.
 *
 * A driver's `KIND.crash.test.ts` calls `describeCrashPoints(kind, create)` with a scenario of real work: a state
 * directory, three versions of the same resources (two that become ready, one that does not), and how a client asks who
 * serves. One scenario serves a whole test: an upgrade begins where the one before it ended, so versions a and b take
 * turns, and nothing is set up again for each of its points.
 *
 * The first crash is enumerated. The second, and the cuts of power, which take the workloads and what was not synced of
 * the journal with the agent, are sampled by the seed that the tests print (SECOND_CRASHES, POWER_CUTS of them);
 * HOLDFAST_CRASH_POINTS=all enumerates them too, which is a part of the nightly. A driver whose work is slow may have its
 * first crashes sampled, too (`firstCrashesPace`), where another suite of the same driver enumerates them. A failed check
 * says where the agent died.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Driver, DriverContext, JsonObject, Live } from "../drivers/driver.ts";
import * as attempts from "../store/attempts.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "./crash-world.test-world.ts";

/** `a` and `b` become ready; `sick` is begun and fails, by a step of it or at its gate. */
export type Version = "a" | "b" | "sick";

export type Upgrade = "good" | "sick";

export type CrashResource = Readonly<{
  id: string;
  dependsOn?: readonly string[];
  spec: JsonObject;
}>;

export type CrashScenario = Readonly<{
  /** A new object each time, as each life of an agent has one. */
  driver(): Driver;
  /** Those that its resources need besides. */
  others?(): readonly Driver[];
  /** Its state directory also holds the agent's store. */
  context: DriverContext;
  /** As blueprints have them, expressions included. The versions must render to different specs. Absent: none is sick. */
  resources: Readonly<
    Record<"a" | "b", readonly CrashResource[]> & { sick?: readonly CrashResource[] }
  >;
  /** Published once a version serves: name to expression. */
  outputs?: Readonly<Record<string, string>>;
  /** Name to the absolute path of its content. */
  artefacts?: Readonly<Record<string, string>>;
  /** Values of what `${secrets.NAME}` names. */
  secrets?: Readonly<Record<string, string>>;
  /** As a client asks, of what is published: the version that answered. Rejects for a failed request. */
  ask?(outputs: JsonObject): Promise<Version>;
  /** One line for each thing that nobody needs any more, besides copies, which are looked at here. */
  leftovers?(): Promise<readonly string[]>;
  /** As leftovers, once all of it was removed; absent: the same. */
  leftAfterRemoval?(): Promise<readonly string[]>;
  /** Writes what is to be kept beside `data/`, such as into a volume. */
  fill?(): Promise<void>;
  /** Ends all work at once and without a word, as a power cut does; absent where nothing runs, or what runs is not ours. */
  powerCut?(): Promise<void> | void;
  /** Copies that may stay though no generation names them, such as an ended run of a job. */
  mayStay?(live: Live): boolean;
  /** Ends all work and removes everything. */
  end(): Promise<void>;
}>;

/** Points at which the power is cut, of each of the two upgrades. */
const POWER_CUTS = 4;
/** Pairs of a first and a second crash, of each of the two upgrades. */
const SECOND_CRASHES = 1;
const SETTLED_MS_MAX = 60_000;
const LOOK_AGAIN_MS = 5;
/** Between two requests of a client. */
const ASK_AGAIN_MS = 4;
/** An attempt has at least: note, rendered, begin, effect, end, commit and the end, each before and after. */
const POINTS_MIN = 14;

export function describeCrashPoints(
  kind: string,
  create: () => Promise<CrashScenario> | CrashScenario,
  upgrades: readonly Upgrade[] = ["good", "sick"],
  firstCrashesPace = 1,
): void {
  const pace = process.env["HOLDFAST_CRASH_POINTS"] === "all" ? 1 : firstCrashesPace;
  describe(`crash points: ${kind}`, () => {
    let world: CrashWorld | undefined;
    const begin = async (): Promise<CrashWorld> => {
      world = new CrashWorld(kind, await create());
      await world.serve();
      return world;
    };
    afterEach(async () => await world?.end());

    it.each(upgrades)(
      "an upgrade that is %s ends well wherever the agent dies, dies again, or dies with all workloads",
      async (upgrade) => {
        const its = await begin();
        const recoveries = await firstCrashes(its, upgrade, pace);
        expect(recoveries.length * pace).toBeGreaterThanOrEqual(POINTS_MIN);
        if (pace > 1) return;
        await secondCrashes(its, upgrade, recoveries);
        await powerCuts(its, upgrade, recoveries.length);
      },
    );
  });
}

/** At every point once, or at each so many-th, from one on that the seed gives. How many points each recovery had. */
async function firstCrashes(
  its: CrashWorld,
  upgrade: Upgrade,
  pace: number,
): Promise<readonly number[]> {
  const recoveries: number[] = [];
  for (let point = seed() % pace; ; point += pace) {
    const points = await its.survive(upgrade, [point]);
    if (points === undefined) return recoveries;
    recoveries.push(points);
  }
}

async function secondCrashes(
  its: CrashWorld,
  upgrade: Upgrade,
  recoveries: readonly number[],
): Promise<void> {
  const pairs = recoveries.flatMap((points, first) =>
    Array.from({ length: points }, (_, second) => [first, second] as const),
  );
  for (const pair of sampled(pairs, SECOND_CRASHES)) await its.survive(upgrade, pair);
}

/** The journal loses what was not synced; nobody serves for a moment, and the next life brings back what is to serve. */
async function powerCuts(its: CrashWorld, upgrade: Upgrade, points: number): Promise<void> {
  const counts = Array.from({ length: points }, (_, count) => count);
  for (const count of sampled(counts, POWER_CUTS)) await its.survive(upgrade, [count], true);
}

/** Evenly over all of them, from a place that the seed gives; all where that is asked for. */
export function sampled<Item>(items: readonly Item[], count: number): readonly Item[] {
  if (process.env["HOLDFAST_CRASH_POINTS"] === "all") return items;
  const pace = Math.max(1, Math.floor(items.length / count));
  const first = seed() % pace;
  return items.filter((_, n) => n % pace === first).slice(0, count);
}

function seed(): number {
  return Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);
}

class CrashWorld {
  readonly #kind: string;
  readonly #its: CrashScenario;
  #number = 0n;
  #serving: Version = "b";

  constructor(kind: string, its: CrashScenario) {
    this.#kind = kind;
    this.#its = its;
  }

  /** The first generation, without a crash. */
  async serve(): Promise<void> {
    await this.survive("good", []);
  }

  /**
   * One upgrade, with a life for each count at which one dies, and a last one that does not. The points that the last
   * life passed; undefined if the first one came to its end alive.
   */
  async survive(
    upgrade: Upgrade,
    counts: readonly number[],
    isCut = false,
  ): Promise<number | undefined> {
    const before = this.#serving;
    const good = before === "a" ? "b" : "a";
    const version: Version = upgrade === "sick" ? "sick" : good;
    const after = upgrade === "sick" ? before : good;
    this.#number += 1n;
    const isAsked = this.#number > 1n && !isCut;
    const client = isAsked ? new Client(this.#its, new Set([before, after])) : undefined;
    const story: string[] = [];
    let isAlive = false;
    for (const [n, count] of counts.entries()) {
      const life = beginLife(this.#kind, this.#its, count);
      if (n === 0) life.wish(this.#number, version);
      const isDead = await this.#died(life);
      if (n === 0) isAlive = !isDead;
      story.push(isDead ? `died ${life.wire.place}` : "lived");
      await life.end();
      if (isCut) life.disk.loseUnsynced();
    }
    if (isCut) {
      await this.#its.powerCut?.();
      story.push("the power was cut");
    }
    const last = beginLife(this.#kind, this.#its);
    if (counts.length === 0) last.wish(this.#number, version);
    await this.#settled(last, after, upgrade, story.join(", then "));
    await client?.end(`${upgrade}: ${story.join(", then ")}`);
    this.#serving = after;
    const { passed } = last.wire;
    await last.end();
    return isAlive ? undefined : passed;
  }

  async end(): Promise<void> {
    await this.#its.end();
  }

  /** Until it is dead or has nothing more to do. */
  async #died({ wire, store }: Life): Promise<boolean> {
    const deadline = performance.now() + SETTLED_MS_MAX;
    while (!wire.isDead && !this.#isEnded(store)) {
      if (performance.now() > deadline) throw new Error(`neither dead nor done: ${wire.place}`);
      await pause(LOOK_AGAIN_MS);
    }
    return wire.isDead;
  }

  #isEnded(store: Life["store"]): boolean {
    const record = attempts.find(store, CRASH_INSTANCE);
    return record?.phase === "ENDED" && record.generation.number === this.#number;
  }

  /** All checks hold within a time, and the story of the crashes is told with what does not. */
  async #settled(life: Life, after: Version, upgrade: Upgrade, story: string): Promise<void> {
    const deadline = performance.now() + SETTLED_MS_MAX;
    for (;;) {
      const problems = await this.#problems(life, after, upgrade);
      if (problems.length === 0) return;
      if (performance.now() > deadline) {
        expect({ upgrade, story, problems }).toEqual({ upgrade, story, problems: [] });
      }
      await pause(LOOK_AGAIN_MS);
    }
  }

  async #problems({ store }: Life, after: Version, upgrade: Upgrade): Promise<readonly string[]> {
    const record = attempts.find(store, CRASH_INSTANCE);
    if (!this.#isEnded(store)) return [`the attempt is in phase ${record?.phase}`];
    const ends = upgrade === "sick" ? "RETURNED" : "COMMITTED";
    const journal = attempts.listJournal(store, CRASH_INSTANCE).length;
    const committed = attempts.findCommitted(store, CRASH_INSTANCE);
    const kept = new Map(committed?.resources.map(({ id, digest }) => [id, digest]));
    const { context, mayStay = () => false, leftovers, ask } = this.#its;
    const lives = await this.#its.driver().observe(context);
    const odd = lives.filter((live) => kept.get(live.key.resourceId) !== live.digest);
    const missing = [...kept].filter(([, digest]) => !lives.some((live) => live.digest === digest));
    const outputs = published(context);
    const answer = ask === undefined ? after : await ask(outputs).catch(String);
    return [
      ...(record?.state === ends ? [] : [`it ended ${record?.state} ${record?.message}`]),
      ...(journal === 0 ? [] : [`${journal} steps are in the journal`]),
      ...odd.filter((live) => !mayStay(live)).map(({ handle }) => `left over: ${handle}`),
      ...missing.map(([id]) => `no copy of ${id}`),
      ...(lives.length - odd.length > kept.size ? ["several copies of one resource"] : []),
      ...((await leftovers?.()) ?? []),
      ...(answer === after ? [] : [`${answer} answers, not ${after}`]),
    ];
  }
}

/** Asks without a pause who serves, by what is published; counts what failed while that was still published. */
class Client {
  readonly #its: CrashScenario;
  readonly #stop = new AbortController();
  readonly #failures: string[] = [];
  readonly #ended: Promise<void>;
  #asked = 0;

  constructor(its: CrashScenario, allowed: ReadonlySet<Version>) {
    this.#its = its;
    const isHeldTo = its.ask !== undefined && its.driver().isAtomic;
    this.#ended = isHeldTo ? this.#run(allowed) : Promise.resolve();
  }

  async end(story: string): Promise<void> {
    this.#stop.abort();
    await this.#ended;
    expect({ story, failed: this.#failures }).toEqual({ story, failed: [] });
    if (this.#its.ask !== undefined && this.#its.driver().isAtomic) {
      expect(this.#asked).toBeGreaterThan(0);
    }
  }

  async #run(allowed: ReadonlySet<Version>): Promise<void> {
    const { context, ask } = this.#its;
    while (!this.#stop.signal.aborted) {
      const outputs = published(context);
      try {
        const version = await ask?.(outputs);
        if (version !== undefined && !allowed.has(version)) this.#failures.push(`got ${version}`);
      } catch (error) {
        // Whoever has read the address before the switch reads it again.
        const isStill = JSON.stringify(published(context)) === JSON.stringify(outputs);
        if (isStill) this.#failures.push(String(error));
      }
      this.#asked += 1;
      await pause(ASK_AGAIN_MS);
    }
  }
}

function published({ directories }: DriverContext): JsonObject {
  const path = join(directories(CRASH_INSTANCE).seatsFile, "..", "outputs.json");
  if (!existsSync(path)) return {};
  return (JSON.parse(readFileSync(path, "utf8")) as { outputs: JsonObject }).outputs;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
