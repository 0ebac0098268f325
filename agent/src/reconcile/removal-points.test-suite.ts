/**
 * What every driver must stand at the end of an instance, as tests: the agent dies at every journal write of a removal and
 * around every effect of the driver, then once more inside the recovery; and, where the driver keeps data, at every write to
 * the store and around every effect of a destruction that a vendor's order asks for. Each time the next life ends with nothing
 * left over, data as it was announced, the end of the instance confirmed once, and an empty journal. Nothing here knows a
 * kind.
 *
 * The scenario is that of the crash points, of which version a is served again before each point. Points are enumerated up to
 * POINTS_MAX, and else sampled by the seed that the tests print, as second crashes are; HOLDFAST_CRASH_POINTS=all enumerates
 * all of them.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionKind,
  type ActionResult,
  ActionSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { DestroyOrderSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { afterEach, describe, expect, it } from "vitest";
import * as actions from "../store/actions.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import { openStore } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import { type CrashScenario, sampled } from "./crash-points.test-suite.ts";
import {
  beginLife,
  CRASH_CELL,
  CRASH_INSTANCE,
  CRASH_VENDOR,
  type Guarded,
  type Life,
} from "./crash-world.test-world.ts";
import { keySet } from "./engine.test-world.ts";

/** `pointsMax`: where each costs a second. `keepsData`: whether there is anything to destroy. */
export type RemovalPoints = Readonly<{ pointsMax?: number; keepsData: boolean }>;

const POINTS_MAX = 1_000;
const SECOND_CRASHES = 1;
/** Note, begin and end of the drop and of the report, the drop itself, and the end; each before and after. */
const REMOVAL_POINTS_MIN = 14;
/** The order, its grant, the destruction itself, its end; each before and after. */
const DESTRUCTION_POINTS_MIN = 8;
const SETTLED_MS_MAX = 60_000;
const LOOK_AGAIN_MS = 5;
const DESTROY_KEY = signingKey(new Uint8Array(32).fill(31));
const HOUR_MS = 3_600_000;
const ROWS = "rows";

export function describeRemovalPoints(
  kind: string,
  scenario: () => Promise<CrashScenario> | CrashScenario,
  { pointsMax = POINTS_MAX, keepsData }: RemovalPoints,
): void {
  describe(`crash points of the end: ${kind}`, () => {
    let world: RemovalWorld;
    const begin = async () => {
      world = new RemovalWorld(kind, await scenario());
    };
    afterEach(async () => await world.end());

    const everywhere = async (die: (counts: readonly number[]) => Promise<number>, min: number) => {
      const total = await die([]);
      expect(total).toBeGreaterThanOrEqual(min);
      const counts = Array.from({ length: total }, (_, count) => count);
      const points = counts.length > pointsMax ? sampled(counts, pointsMax) : counts;
      const recoveries: (readonly [number, number])[] = [];
      for (const first of points) {
        const passed = await die([first]);
        for (let second = 0; second < passed; second++) recoveries.push([first, second]);
      }
      for (const pair of sampled(recoveries, SECOND_CRASHES)) await die(pair);
    };

    it("a removal ends well wherever the agent dies, and dies again", async () => {
      await begin();
      await everywhere((counts) => world.remove(counts), REMOVAL_POINTS_MIN);
    });

    if (!keepsData) return;
    it("a destruction with an order is done once wherever the agent dies, and dies again", async () => {
      await begin();
      await everywhere((counts) => world.destroy(counts), DESTRUCTION_POINTS_MIN);
    });
  });
}

class RemovalWorld {
  readonly #kind: string;
  readonly #its: CrashScenario;
  #number = 0n;
  #orders = 0;
  /** Of the present removal: how often it was written that the instance is gone. */
  #confirmed = 0;

  constructor(kind: string, its: CrashScenario) {
    this.#kind = kind;
    this.#its = its;
    pinDestroyKey(its);
  }

  async end(): Promise<void> {
    await this.#its.end();
  }

  /** Served, and removed by lives that die at these counts and a last one. The points that the last one passed. */
  async remove(counts: readonly number[]): Promise<number> {
    await this.#serve();
    const kept = await this.#kept();
    this.#number += 1n;
    this.#confirmed = 0;
    const { story, passed } = await this.#lives(counts, {
      ...{ guarded: "journal", again: false },
      wish: (life) => life.tombstone(this.#number),
      isDone: ({ store }) => assignments.find(store, CRASH_INSTANCE)?.removed === true,
      problemsIn: (life) => this.#removalProblems(life, kept),
    });
    expect({ story, confirmed: this.#confirmed }).toEqual({ story, confirmed: 1 });
    return passed;
  }

  /** As remove, and then destroyed by order. Sent again, the order destroys nothing that came later. */
  async destroy(counts: readonly number[]): Promise<number> {
    // What is in data/ can be written again; what a driver keeps elsewhere came with the instance.
    const isThere = this.#number > 0n && this.#its.fill === undefined;
    if (isThere) writeFileSync(this.#rows(), ROWS);
    else await this.remove([]);
    const action = this.#order();
    const resultIn = ({ store }: Life) => actions.findResult(store, action.id);
    const { story, passed } = await this.#lives(counts, {
      ...{ guarded: "store", again: true },
      wish: ({ engine }) => {
        try {
          if (engine.orders.take(action, () => undefined)) engine.wake(CRASH_INSTANCE);
        } catch (error) {
          if (!/^(killed|dead)/.test((error as Error).message)) throw error;
        }
      },
      isDone: (life) => resultIn(life) !== undefined,
      problemsIn: async (life) => [
        ...(resultIn(life)?.state === ActionState.DONE ? [] : [`ended ${resultIn(life)?.message}`]),
        ...(await this.#kept()).map((name) => `still kept: ${name}`),
      ],
    });
    writeFileSync(this.#rows(), "later");
    const last = beginLife(this.#kind, this.#its);
    const { reason } = await new Promise<ActionResult>((resolve) => {
      last.engine.orders.take(action, resolve);
    });
    await last.end();
    const rows = readFileSync(this.#rows(), "utf8");
    expect({ story, reason, rows }).toEqual({ story, reason: "DESTROYED", rows: "later" });
    return passed;
  }

  /** `again`: each life is told the wish, as by a hub that has not heard of its end, and not the first one alone. */
  async #lives(
    counts: readonly number[],
    { guarded, wish, again, isDone, problemsIn }: Deed,
  ): Promise<Readonly<{ story: string; passed: number }>> {
    const story: string[] = [];
    for (const [n, count] of counts.entries()) {
      const life = beginLife(this.#kind, this.#its, count, guarded);
      if (n === 0 || again) wish(life);
      await until(
        async () => life.wire.isDead || isDone(life),
        () => `neither dead nor done: ${life.wire.place}`,
      );
      story.push(life.wire.isDead ? `died ${life.wire.place}` : "lived");
      this.#confirmed += life.removals();
      await life.end();
    }
    const last = beginLife(this.#kind, this.#its, undefined, guarded);
    if (counts.length === 0 || again) wish(last);
    let problems: readonly string[] = [];
    const isWell = async () => {
      problems = isDone(last) ? await problemsIn(last) : ["it is not done"];
      return problems.length === 0;
    };
    await until(isWell, () => JSON.stringify({ story, problems }));
    this.#confirmed += last.removals();
    const { passed } = last.wire;
    await last.end();
    return { story: story.join(", then "), passed };
  }

  /** Version a, with something to keep. */
  async #serve(): Promise<void> {
    this.#number += 1n;
    const life = beginLife(this.#kind, this.#its);
    life.wish(this.#number, "a");
    const record = () => attempts.find(life.store, CRASH_INSTANCE);
    const serves = async () =>
      attempts.findCommitted(life.store, CRASH_INSTANCE)?.generation.number === this.#number &&
      record()?.phase === "ENDED";
    await until(serves, () => `not served: ${record()?.state} ${record()?.message}`);
    await life.end();
    writeFileSync(this.#rows(), ROWS);
    await this.#its.fill?.();
  }

  async #removalProblems(
    { store, engine }: Life,
    kept: readonly string[],
  ): Promise<readonly string[]> {
    const { context, leftAfterRemoval, leftovers = async () => [] } = this.#its;
    const record = attempts.find(store, CRASH_INSTANCE);
    const status = engine.statuses()[0]?.status;
    const journal = attempts.listJournal(store, CRASH_INSTANCE).length;
    const lives = await this.#its.driver().observe(context);
    const now = await this.#kept();
    const { run } = context.directories(CRASH_INSTANCE);
    return [
      ...(record?.state === "COMMITTED" && record.reason === "REMOVED"
        ? []
        : ["it did not end so"]),
      ...(status?.removed && status.finalizers.length === 0 ? [] : ["it is not told as removed"]),
      ...(journal === 0 ? [] : [`${journal} steps are in the journal`]),
      ...(attempts.findCommitted(store, CRASH_INSTANCE) ? ["something is committed"] : []),
      ...lives.map(({ handle }) => `left over: ${handle}`),
      ...readdirSync(run).map((name) => `left in run/: ${name}`),
      ...(await (leftAfterRemoval ?? leftovers)()),
      ...(now.join() === kept.join() ? [] : [`kept ${now.join()}, not ${kept.join()}`]),
      ...(readFileSync(this.#rows(), "utf8") === ROWS ? [] : ["data/ was changed"]),
    ];
  }

  /** Names of data, as the driver tells them. */
  async #kept(): Promise<readonly string[]> {
    const all = await this.#its.driver().kept(this.#its.context);
    return all.map(({ name }) => name).sort();
  }

  #rows(): string {
    return join(this.#its.context.directories(CRASH_INSTANCE).data, ROWS);
  }

  /** Signed with the vendor's destroy key for the generation of the tombstone; for all that is kept. */
  #order(): Action {
    const now = this.#its.context.clock.now();
    this.#orders += 1;
    const order = create(DestroyOrderSchema, {
      ...{ vendorId: CRASH_VENDOR, cellId: CRASH_CELL, instanceId: CRASH_INSTANCE, names: [] },
      generation: { incarnation: 1n, number: this.#number },
      ...{ signTime: timestampFromMs(now), expireTime: timestampFromMs(now + HOUR_MS) },
      nonce: new Uint8Array(16).fill(this.#orders),
    });
    const id = idOf("action", `00000000-0000-7000-8000-${String(this.#orders).padStart(12, "0")}`);
    return create(ActionSchema, {
      ...{ id, instanceId: CRASH_INSTANCE, kind: ActionKind.DESTROY },
      destroyOrder: signEnvelope("destroy", toBinary(DestroyOrderSchema, order), [DESTROY_KEY]),
      notAfter: timestampFromMs(now + HOUR_MS),
    });
  }
}

type Deed = Readonly<{
  guarded: Guarded;
  wish(life: Life): void;
  again: boolean;
  isDone(life: Life): boolean;
  problemsIn(life: Life): Promise<readonly string[]>;
}>;

function pinDestroyKey({ context }: CrashScenario): void {
  mkdirSync(context.stateDir, { recursive: true });
  const { store } = openStore(join(context.stateDir, "agent.db"), 0);
  const set = keySet(KeyPurpose.DESTROY, 1n, [DESTROY_KEY]);
  pins.replaceKeySet(store, set, toBinary(KeySetSchema, set));
  store.close();
}

async function until(holds: () => Promise<boolean>, story: () => string): Promise<void> {
  const deadline = performance.now() + SETTLED_MS_MAX;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(story());
    await new Promise((resolve) => {
      setTimeout(resolve, LOOK_AGAIN_MS);
    });
  }
}
