/** The way back is the way there, reversed: for any graph of resources of which one cannot be started. */
import { AttemptState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentWorld } from "./engine.test-world.ts";
import type { ResourceInput } from "./release.test-world.ts";

const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);
const RUNS = 8;

/** Up to six resources; each may need earlier ones; one of them fails half way. */
const worlds = fc
  .array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 6 })
  .chain((needs) => fc.tuple(fc.constant(needs), fc.nat({ max: needs.length - 1 })))
  .map(([needs, broken]): readonly Required<Pick<ResourceInput, "id" | "mode" | "dependsOn">>[] =>
    needs.map((picks, n) => ({
      id: `r${n}`,
      mode: n === broken ? "fail" : "",
      dependsOn: n === 0 ? [] : [...new Set(picks.map((pick) => `r${pick % n}`))],
    })),
  );

describe("undo", () => {
  it("takes back every step that was begun, last first, and leaves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (resources) => {
        const world = await agentWorld();
        const agent = world.begin();
        try {
          await agent.intake.offered(world.offerOf({ number: 1n, resources }));
          const { attempt } = await agent.until(
            (status) => status.attempt?.state === AttemptState.RETURNED,
          );
          const verbs = (verb: string) =>
            agent.driver.orders
              .filter((order) => order.endsWith(`/${verb}`))
              .map((order) => order.split("/")[0] ?? "");
          const started = verbs("start");
          expect(verbs("stop")).toEqual(started.toReversed());
          expect(world.copies()).toEqual([]);
          for (const { id, dependsOn } of resources.filter((each) => started.includes(each.id))) {
            for (const need of dependsOn) {
              expect(started.indexOf(need)).toBeLessThan(started.indexOf(id));
            }
          }
          expect(attempt?.reason).toBe("DRIVER_FAILED");
          expect(attempt?.message).not.toContain("not undone");
        } finally {
          await agent.end();
          world.dispose();
        }
      }),
      { seed, numRuns: RUNS },
    );
  });

  it("says what could not be taken back, and ends all the same", async () => {
    const world = await agentWorld();
    const agent = world.begin();
    const resources = [
      { id: "a", mode: "keep" },
      { id: "b", mode: "sick", dependsOn: ["a"] },
    ];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    const { attempt } = await agent.until(
      (status) => status.attempt?.state === AttemptState.RETURNED,
    );
    expect(attempt?.reason).toBe("NOT_READY");
    expect(attempt?.message).toContain("not undone: undo a/start: it cannot be stopped");
    await agent.end();
    world.dispose();
  });
});
