/** Plans for any set of copies, carried out on a model: they end with the wish alone, and never leave a gap that is not shown. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Live, Step, Wanted } from "../driver.ts";
import { stepsFor } from "./steps.ts";

const NOW = 1_000_000;
const key = { instanceId: `ins_${"a".repeat(32)}`, resourceId: "worker" };
const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);

function wish(letter: string, fixed: number | undefined): Wanted {
  return {
    ...{ key, kind: "process", releaseVersion: "1.0.0", digest: `sha256:${letter.repeat(64)}` },
    generation: { incarnation: 1n, number: 1n },
    spec: {
      artefact: "worker",
      argv: ["node", "worker.mjs"],
      ports: { http: fixed === undefined ? {} : { fixed } },
    },
    ...{ secrets: new Map(), artefacts: new Map() },
  };
}

const letters = fc.constantFrom("a", "b", "c");
const ports = fc.constantFrom(8_001, 8_002);
const copies = fc
  .array(
    fc.record({
      letter: letters,
      phase: fc.constantFrom("starting", "running", "stopping", "exited"),
      port: ports,
      restarts: fc.nat(5),
      failing: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  .map((all) =>
    all.map(({ letter, phase, port, restarts, failing }, index): Live => {
      const live: Live = {
        ...{ key, phase, restarts, message: "" },
        handle: `worker-1.1-${letter.repeat(12)}-${index}r${restarts}`,
        digest: `sha256:${letter.repeat(64)}`,
        generation: { incarnation: 1n, number: 1n },
        outputs: { ports: { http: port } },
        startedAt: NOW - 1_000 + index,
      };
      if (phase === "exited") return { ...live, exitedAt: NOW - 10 };
      return failing && phase === "running" ? { ...live, failing: true } : live;
    }),
  );
const world = fc.record({
  live: copies,
  last: letters,
  want: fc.option(letters),
  fixed: fc.option(ports),
});

/** What a step leaves of the copies. */
function carriedOut(live: readonly Live[], { verb, input }: Step, digest: string): readonly Live[] {
  if (verb === "stop") {
    return live.flatMap((copy): Live[] => {
      if (copy.handle !== input["handle"]) return [copy];
      return input["keep"] === true
        ? [{ ...copy, phase: "exited", failing: false, exitedAt: NOW }]
        : [];
    });
  }
  const replaced = input["replaces"] as readonly string[];
  const left = live.filter(({ handle }) => !replaced.includes(handle));
  const started: Live = {
    ...{ key, digest, phase: "running", message: "", startedAt: NOW },
    handle: String(input["handle"]),
    generation: { incarnation: 1n, number: 1n },
    outputs: { ports: { http: 9_000 } },
    restarts: Number(input["restarts"]),
  };
  return [...left, started];
}

const alive = (live: readonly Live[]) =>
  live.filter(({ phase }) => phase === "running" || phase === "starting");

describe("any plan", () => {
  const check = <T>(property: fc.IProperty<T>) => fc.assert(property, { seed, numRuns: 500 });

  it("ends with one copy of the wish alone, or with nothing", () => {
    check(
      fc.property(world, ({ live, last, want, fixed }) => {
        const wanted = want === null ? undefined : wish(want, fixed ?? undefined);
        let now: readonly Live[] = live;
        // One that does not answer is stopped at a time; then a start, and the rest.
        for (let round = 0; round < live.length + 2; round++) {
          for (const step of stepsFor(now, wish(last, undefined), wanted, NOW)) {
            now = carriedOut(now, step, wanted?.digest ?? "");
          }
        }
        expect(stepsFor(now, wanted, wanted, NOW)).toEqual([]);
        expect(now.map(({ digest }) => digest)).toEqual(
          wanted === undefined ? [] : [wanted.digest],
        );
      }),
    );
  });

  it("has ids of its own, and a name that no copy has for what it starts", () => {
    check(
      fc.property(world, ({ live, last, want, fixed }) => {
        const wanted = want === null ? undefined : wish(want, fixed ?? undefined);
        const steps = stepsFor(live, wish(last, undefined), wanted, NOW);
        expect(new Set(steps.map(({ id }) => id)).size).toBe(steps.length);
        for (const { verb, input } of steps.filter(({ verb }) => verb === "start")) {
          expect(live.map(({ handle }) => handle)).not.toContain(input["handle"]);
          expect(verb).toBe("start");
        }
      }),
    );
  });

  it("keeps something serving until the commit unless it says that there is a gap", () => {
    check(
      fc.property(world, letters, ({ live, last, fixed }, want) => {
        const wanted = wish(want, fixed ?? undefined);
        const steps = stepsFor(live, wish(last, undefined), wanted, NOW);
        const before = steps.filter(({ when }) => when === "before-commit");
        const serving = alive(live).filter(({ failing }) => failing !== true);
        const stopped = before.filter(({ verb }) => verb === "stop");
        const isShown = stopped.every(({ summary }) =>
          /no service until the new one is ready|fails its liveness probe/.test(summary),
        );
        expect(isShown).toBe(true);
        if (stopped.length > 0 || serving.length === 0) return;
        const left = before.reduce<readonly Live[]>(
          (now, step) => carriedOut(now, step, wanted.digest),
          live,
        );
        for (const copy of serving) expect(left).toContain(copy);
      }),
    );
  });
});
