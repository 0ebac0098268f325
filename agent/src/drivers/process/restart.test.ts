/** What a restart comes to as a table of decisions. Nothing here runs. */
import { describe, expect, it } from "vitest";
import type { JsonObject, Live, Wanted } from "../driver.ts";
import { restartSteps } from "./steps.ts";

const key = { instanceId: `ins_${"a".repeat(32)}`, resourceId: "worker" };
const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`;

function wish(more: JsonObject): Wanted {
  return {
    ...{ key, kind: "process", releaseVersion: "1.1.0", digest: digestOf("a") },
    generation: { incarnation: 1n, number: 1n },
    spec: {
      artefact: "worker",
      argv: ["node", "worker.mjs"],
      restart: { baseMs: 30_000 },
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map(),
  };
}

function copy(handle: string, more: Partial<Live> = {}): Live {
  return {
    ...{ key, handle: `worker-1.1-${"a".repeat(12)}-${handle}`, digest: digestOf("a") },
    ...{ generation: { incarnation: 1n, number: 1n }, phase: "running", startedAt: 1, restarts: 3 },
    outputs: { ports: { http: 8080 } },
    message: "",
    ...more,
  };
}

const free = wish({ ports: { http: {} } });
const neighbour = { key: { ...key, resourceId: "other" } };
const brief = (live: readonly Live[], wanted: Wanted) =>
  restartSteps(live, wanted).map(({ verb, when, input }) => {
    return `${verb} ${String(input["handle"]).split("-").at(-1)} ${when}`;
  });
const beside = ["start 1r0 before-commit", "stop 0r0 after-commit"];
const instead = ["stop 0r0 before-commit", "start 1r0 before-commit"];

describe("a restart", () => {
  it.each([
    { it: "has both for a moment where the agent chooses the ports", wanted: free, steps: beside },
    {
      it: "stops the old one first where a port is fixed",
      wanted: wish({ ports: { http: {}, admin: { fixed: 9_000 } } }),
      steps: instead,
    },
    { it: "stops the old one first where there is no port", wanted: wish({}), steps: instead },
  ])("$it", ({ wanted, steps }) => {
    expect(brief([copy("0r0")], wanted)).toEqual(steps);
  });

  it("starts at once what has crashed, whatever its pause, and takes its place", () => {
    const [start, ...more] = restartSteps([copy("4r3", { phase: "exited", exitedAt: 5 })], free);
    expect(more).toEqual([]);
    expect(start?.notBefore).toBeUndefined();
    expect(start?.input).toMatchObject({ restarts: 0, replaces: [expect.stringMatching("4r3")] });
  });

  it("begins none but its own resource, and leaves other digests to the plan", () => {
    const others = [copy("0r0", neighbour), copy("1r0", { digest: digestOf("b") })];
    expect(brief(others, free)).toEqual(["start 2r0 before-commit"]);
  });

  it("is undone by names that nobody else has", () => {
    const [stop, start] = restartSteps([copy("0r0")], wish({}));
    expect(start?.undo?.input["handle"]).toBe(start?.input["handle"]);
    expect(String(stop?.undo?.input["handle"])).toMatch(/-2r3$/);
  });
});
