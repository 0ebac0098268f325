/** What steps said, from a real program in a real attempt to whoever asks: live, bounded, without secrets, kept for a while. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type OutputPart, ShowOutputSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { ActionKind, ActionSchema } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Driver, JsonObject } from "../drivers/driver.ts";
import { createWorld, eventually, type World } from "../drivers/job/job.test-world.ts";
import { shownOutput } from "../local/output.ts";
import type { CrashResource } from "../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "../reconcile/crash-world.test-world.ts";
import * as attempts from "../store/attempts.ts";
import { showOutput } from "./show.ts";

/** Tells its secret, and goes on once data/go is there; its last line has no end. */
const TALK = `#!/bin/sh
echo "one"
echo "the dsn is $(cat "$HOLDFAST_SECRET_DSN_FILE")" >&2
while [ ! -e "$HOLDFAST_DATA_DIR/go" ]; do sleep 0.02; done
printf "two"
`;
const FLOOD = `#!/bin/sh
i=0
while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i of a flood that nobody can read as fast as it comes"; done
`;
const SECRET = "postgres://hunter2";

let world: World;
let life: Life | undefined;
beforeEach(() => {
  world = createWorld(systemClock, CRASH_INSTANCE);
  for (const [name, text] of Object.entries({ talk: TALK, flood: FLOOD })) {
    writeFileSync(join(world.stateDir, "artefact", name), text, { mode: 0o755 });
  }
});
afterEach(async () => {
  await life?.end();
  life = undefined;
  await world.end();
});

function job(argv: readonly string[], more: JsonObject = {}): CrashResource {
  const effect = "undo" in more ? {} : { effect: "none" };
  const spec = { artefact: "tools", argv: [...argv], deadlineMs: 30_000, ...effect, ...more };
  return { id: "m", spec };
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of a blueprint
const TALKS = job(["talk"], { secretFiles: { dsn: "${secrets.dsn}" } });

function begin(a: CrashResource, b: CrashResource = a, driver?: () => Driver): Life {
  life = beginLife("job", {
    driver: driver ?? world.driver,
    context: world.context,
    artefacts: { tools: join(world.stateDir, "artefact") },
    resources: { a: [a], b: [b], sick: [] },
    secrets: { dsn: SECRET },
    end: world.end,
  });
  return life;
}

/** Whether any log of the instance holds this. */
function logOf(text: string): true | undefined {
  const { logs } = world.context.directories(CRASH_INSTANCE);
  const found = readdirSync(logs).some((name) =>
    readFileSync(join(logs, name), "utf8").includes(text),
  );
  return found || undefined;
}

function ended({ store }: Life, number: bigint) {
  return eventually(`the attempt at ${number} has ended`, () => {
    const record = attempts.find(store, CRASH_INSTANCE);
    return record?.phase === "ENDED" && record.generation.number === number ? record : undefined;
  });
}

type Ask = Parameters<typeof create<typeof ShowOutputSchema>>[1];

function show({ store, engine }: Life, ask: Ask = {}, stays?: string) {
  const { clock, log } = world.context;
  const deps = { store, outputs: engine.outputs, clock, log, stays };
  const question = create(ShowOutputSchema, { instanceId: CRASH_INSTANCE, ...ask });
  return showOutput(deps, question, new AbortController().signal);
}

const textsOf = (parts: readonly OutputPart[]) =>
  parts.flatMap(({ lines }) => lines).map(({ step, text }) => `${step}: ${text}`);

/** All that is told until there is nothing more. */
async function all(its: Life, ask: Ask = {}) {
  const parts: OutputPart[] = [];
  for await (const part of show(its, ask)) parts.push(part);
  return parts;
}

/** As much as it takes until a line with this text came. */
async function until(parts: AsyncGenerator<OutputPart>, text: string): Promise<OutputPart[]> {
  const seen: OutputPart[] = [];
  while (!textsOf(seen).some((line) => line.includes(text))) {
    const { value, done } = await parts.next();
    if (done === true) throw new Error(`it ended without ${text}: ${textsOf(seen)}`);
    seen.push(value);
  }
  return seen;
}

describe("what a job prints", () => {
  it("is told while it runs, without its secret, and to its last word when the attempt ends", async () => {
    const its = begin(TALKS);
    its.wish(1n, "a");
    await eventually("an attempt", () => attempts.find(its.store, CRASH_INSTANCE));
    const following = show(its, { follow: true, step: "m" });
    const first = await until(following, "the dsn");
    expect(textsOf(first)).toEqual(["m/run: one", "m/run: the dsn is [redacted]"]);
    expect(first.every((part) => !part.ended && !part.last)).toBe(true);
    // Without follow it is a look at what is there.
    expect((await all(its)).at(-1)).toMatchObject({ ended: false, last: true });
    writeFileSync(world.dataFile("go"), "");
    const rest: OutputPart[] = [];
    for await (const part of following) rest.push(part);
    expect(textsOf(rest)).toEqual(["m/run: two"]);
    expect(rest.at(-1)).toMatchObject({ attempt: 1n, ended: true, last: true });
    expect((await ended(its, 1n)).state).toBe("COMMITTED");
    const position = first.at(-1)?.position ?? "";
    expect(textsOf(await all(its, { position }))).toEqual(["m/run: two"]);
  });

  it("is gone on with by the next life of the agent, also where the last one had read none of it", async () => {
    let its = begin(TALKS);
    its.wish(1n, "a");
    await eventually("it runs", () => logOf("one"));
    await its.end();
    // As if it had been killed before its first look.
    rmSync(join(world.context.directories(CRASH_INSTANCE).run, "../step-output"), {
      recursive: true,
    });
    its = begin(TALKS);
    writeFileSync(world.dataFile("go"), "");
    await ended(its, 1n);
    const texts = ["m/run: one", "m/run: the dsn is [redacted]", "m/run: two"];
    expect(textsOf(await all(its, { follow: true }))).toEqual(texts);
  });

  it("is gone on with by the next life of the agent, each line once", async () => {
    let its = begin(TALKS);
    its.wish(1n, "a");
    await eventually("an attempt", () => attempts.find(its.store, CRASH_INSTANCE));
    await until(show(its, { follow: true }), "the dsn");
    await its.end();
    its = begin(TALKS);
    writeFileSync(world.dataFile("go"), "");
    await ended(its, 1n);
    const texts = ["m/run: one", "m/run: the dsn is [redacted]", "m/run: two"];
    expect(textsOf(await all(its, { follow: true }))).toEqual(texts);
  });

  it("and what its undo prints stay as the output of the step that failed", async () => {
    const its = begin(job(["node", "job.mjs", "fail"], { undo: { argv: ["quick", "down"] } }));
    its.wish(1n, "a");
    expect((await ended(its, 1n)).state).toBe("RETURNED");
    const texts = ["m/run: did fail", "m/run: cannot", "m/run: did down"];
    expect(textsOf(await all(its, { follow: true }))).toEqual(texts);
  });

  it("too fast is told from its end, and how much is missing", async () => {
    const its = begin(job(["flood"]));
    its.wish(1n, "a");
    await ended(its, 1n);
    const parts = await all(its, { follow: true });
    const texts = textsOf(parts);
    expect(texts.at(-1)).toMatch(/line 20000 of a flood/);
    expect(texts.length).toBeLessThan(5_000);
    const lost = parts.reduce((sum, part) => sum + part.lost, 0n);
    expect(lost > 0n || texts.some((text) => text.includes("came too fast"))).toBe(true);
  });

  it("because somebody asked for a run is told by itself", async () => {
    const its = begin(job(["quick", "hello"]));
    await expect(all(its, { lastAction: true })).rejects.toMatchObject({
      reason: "ATTEMPT_UNKNOWN",
    });
    its.wish(1n, "a");
    await ended(its, 1n);
    const notAfter = timestampFromMs(Date.now() + 60_000);
    const about = { instanceId: CRASH_INSTANCE, kind: ActionKind.RUN_JOB, resource: "m", notAfter };
    for (const id of ["act-1", "act-2"]) {
      await new Promise((resolve) => {
        if (its.engine.orders.take(create(ActionSchema, { id, ...about }), resolve)) {
          its.engine.wake(CRASH_INSTANCE);
        }
      });
    }
    const texts = ["m/run: did hello"];
    expect(textsOf(await all(its, { lastAction: true, follow: true }))).toEqual(texts);
    expect(textsOf(await all(its))).toEqual(texts);
  });
});

describe("what a driver says", () => {
  it("is told before the first step too, escaped, bounded, without the secrets of the rendering", async () => {
    const driver = (): Driver => ({
      ...world.driver(),
      prepare: async (_, { say }) => {
        say?.(`pulling with ${SECRET}\u001b[31m`);
        say?.("x".repeat(10_000));
      },
    });
    const its = begin(TALKS, TALKS, driver);
    writeFileSync(world.dataFile("go"), "");
    its.wish(1n, "a");
    await ended(its, 1n);
    const [pulling, long] = (await all(its, { step: "m/prepare" })).flatMap(({ lines }) => lines);
    expect(pulling).toMatchObject({ text: "pulling with [redacted]\\u001b[31m", copy: "" });
    expect(long).toMatchObject({ cutBytes: 6_000n });
  });
});

describe("output", () => {
  it("is told on the host too, with or without a running agent, whatever leaves it", async () => {
    const its = begin(job(["quick", "a"]));
    its.wish(1n, "a");
    await ended(its, 1n);
    const { stateDir } = world.context;
    const report = { instances: [{ id: CRASH_INSTANCE, name: "crash" }] } as never;
    const wish = { attempt: 0, step: "", lastAction: false };
    const shown = (more: object, form: "text" | "json" = "text") =>
      shownOutput(stateDir, report, "crash", { ...wish, ...more }, form);
    expect(await shown({})).toMatch(/^\d{4}-\S+Z {2}m\/run {2}did a\n$/);
    await its.end();
    const view = JSON.parse(await shown({ attempt: 1, step: "m" }, "json"));
    expect(view).toMatchObject({ attempt: 1, ended: true, lost: 0, lines: [{ text: "did a" }] });
    await expect(shown({ attempt: 2 })).rejects.toThrow("got 2; the agent keeps 1");
  });

  it("is kept for the attempts that are told of, and no longer", async () => {
    const its = begin(job(["quick", "a"]), job(["quick", "b"]));
    for (let number = 1n; number <= 6n; number += 1n) {
      its.wish(number, number % 2n === 0n ? "b" : "a");
      await ended(its, number);
    }
    expect(textsOf(await all(its, { attempt: 2n }))).toEqual(["m/run: did b"]);
    expect(textsOf(await all(its, { attempt: 5n }))).toEqual(["m/run: did a"]);
    expect(textsOf(await all(its))).toEqual(["m/run: did b"]);
    const gone = all(its, { attempt: 1n });
    await expect(gone).rejects.toThrow("attempt: got 1; the agent keeps 6, 5, 4, 3, 2");
    const { run } = world.context.directories(CRASH_INSTANCE);
    expect(readdirSync(join(run, "../step-output")).sort()).toEqual(["2", "3", "4", "5", "6"]);
  });

  it("is refused where the customer keeps it, and for what is not there", async () => {
    const its = begin(job(["quick", "a"]));
    const reasonOf = async (parts: AsyncGenerator<OutputPart>) =>
      await parts.next().then(
        () => "told",
        ({ reason, message }) => `${reason}: ${message}`,
      );
    expect(await reasonOf(show(its))).toBe(
      "ATTEMPT_UNKNOWN: attempt: no attempt was begun here yet",
    );
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(await reasonOf(show(its, {}, "ship_logs: false"))).toBe(
      "OUTPUT_STAYS_HERE: the customer keeps output on the agent's host (ship_logs: false)",
    );
    expect(await reasonOf(show(its, { step: "m/stop" }))).toBe(
      "STEP_UNKNOWN: step: got m/stop; attempt 1: it has m/run",
    );
    for (const position of ["x", "1", "1.-1", "01.1", "1.1.1", `1.${"9".repeat(20)}`]) {
      expect(await reasonOf(show(its, { position }))).toMatch(/^PAGE_TOKEN_INVALID: position: got/);
    }
    const stranger = `ins_${"f".repeat(32)}`;
    expect(await reasonOf(show(its, { instanceId: stranger }))).toMatch(/^ATTEMPT_UNKNOWN/);
    expect(await reasonOf(show(its))).toBe("told");
  });
});
