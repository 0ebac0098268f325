/** The plan of a process resource as a table of decisions. Nothing here runs. */
import { describe, expect, it } from "vitest";
import { STABLE_RUN_MS } from "../copy-plan.ts";
import type { JsonObject, Live, Wanted } from "../driver.ts";
import { stepsFor } from "./steps.ts";

const NOW = 1_000_000;
const key = { instanceId: `ins_${"a".repeat(32)}`, resourceId: "worker" };
const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`;

function wish(letter: string, number: bigint, more: JsonObject = {}): Wanted {
  return {
    key,
    kind: "process",
    generation: { incarnation: 1n, number },
    releaseVersion: `1.${number}.0`,
    digest: digestOf(letter),
    spec: {
      artefact: "worker",
      argv: ["node", "worker.mjs"],
      ports: { http: {} },
      stop: { signal: "SIGINT", graceMs: 700, drainMs: 250 },
      restart: { baseMs: 100, capMs: 5_000 },
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map(),
  };
}

function copy(letter: string, more: Partial<Live> = {}): Live {
  return {
    key,
    handle: `worker-1.1-${letter.repeat(12)}-0r0`,
    digest: digestOf(letter),
    generation: { incarnation: 1n, number: 1n },
    phase: "running",
    outputs: { ports: { http: 8080 } },
    startedAt: NOW - 10_000,
    restarts: 0,
    message: "",
    ...more,
  };
}

const gone = (letter: string, more: Partial<Live> = {}) =>
  copy(letter, { phase: "exited", exitedAt: NOW - 10, message: "exited with status 3", ...more });
const fixed = { ports: { http: { fixed: 8080 } } };
const [a, b] = [wish("a", 1n), wish("b", 2n)];
const brief = (live: readonly Live[], last: Wanted | undefined, wanted: Wanted | undefined) =>
  stepsFor(live, last, wanted, NOW).map(({ verb, when, input }) => {
    return `${verb} ${String(input["handle"]).split("-")[2]?.slice(0, 1)} ${when}`;
  });

describe("stepsFor", () => {
  it.each([
    {
      it: "starts what is missing",
      live: [],
      last: undefined,
      want: a,
      steps: ["start a before-commit"],
    },
    { it: "leaves what runs as wanted", live: [copy("a")], last: a, want: a, steps: [] },
    {
      it: "leaves what is just starting",
      live: [copy("a", { phase: "starting" })],
      last: a,
      want: a,
      steps: [],
    },
    {
      it: "starts the new one before it stops the old one",
      live: [copy("a")],
      last: a,
      want: b,
      steps: ["start b before-commit", "stop a after-commit"],
    },
    {
      it: "stops the old one first where both need one port",
      live: [copy("a")],
      last: a,
      want: wish("b", 2n, fixed),
      steps: ["stop a before-commit", "start b before-commit"],
    },
    {
      it: "starts the new one first where the fixed port is another one",
      live: [copy("a", { outputs: { ports: { http: 9999 } } })],
      last: a,
      want: wish("b", 2n, fixed),
      steps: ["start b before-commit", "stop a after-commit"],
    },
    {
      it: "starts what has exited again",
      live: [gone("a")],
      last: a,
      want: a,
      steps: ["start a before-commit"],
    },
    {
      it: "returns to the old one by stopping the new one alone",
      live: [copy("a"), copy("b")],
      last: a,
      want: a,
      steps: ["stop b after-commit"],
    },
    {
      it: "stops a stray of the same digest, and keeps the newest",
      live: [copy("a"), copy("a", { handle: "worker-1.1-aaaaaaaaaaaa-1r0" })],
      last: a,
      want: a,
      steps: ["stop a after-commit"],
    },
    {
      it: "stops a copy of an unknown digest",
      live: [copy("a"), copy("c")],
      last: a,
      want: a,
      steps: ["stop c after-commit"],
    },
    {
      it: "starts a new one beside one that is being stopped",
      live: [copy("a", { phase: "stopping" })],
      last: a,
      want: a,
      steps: ["start a before-commit", "stop a after-commit"],
    },
    {
      it: "stops everything that is not wanted any more",
      live: [copy("a"), gone("b")],
      last: a,
      want: undefined,
      steps: ["stop a after-commit", "stop b after-commit"],
    },
    {
      it: "stops one that fails its liveness probe, before it is started again",
      live: [copy("a", { failing: true })],
      last: a,
      want: a,
      steps: ["stop a before-commit"],
    },
  ])("$it", ({ live, last, want, steps }) => {
    expect(brief(live, last, want)).toEqual(steps);
  });

  it("leaves the copies of other resources and instances alone", () => {
    const other = copy("c", { key: { ...key, resourceId: "other" } });
    const foreign = copy("c", { key: { ...key, instanceId: `ins_${"b".repeat(32)}` } });
    expect(brief([other, foreign, copy("a")], a, a)).toEqual([]);
    expect(brief([other, foreign], a, undefined)).toEqual([]);
  });

  it("gives each step an id and each copy a name of its own", () => {
    const steps = stepsFor([copy("a"), copy("c")], a, b, NOW);
    expect(steps.map(({ id }) => id)).toEqual([
      "worker/start",
      "worker/stop/worker-1.1-aaaaaaaaaaaa-0r0",
      "worker/stop/worker-1.1-cccccccccccc-0r0",
    ]);
    expect(steps[0]?.input["handle"]).toBe("worker-1.2-bbbbbbbbbbbb-0r0");
  });

  it("hands the drain and the way to stop to the step", () => {
    const [, stop] = stepsFor([copy("a")], a, b, NOW);
    expect(stop?.input).toMatchObject({ drainMs: 250, signal: "SIGINT", graceMs: 700 });
  });

  it("shows the gap of a fixed port, and undoes it by starting the old one again", () => {
    const [stop] = stepsFor([copy("a")], a, wish("b", 2n, fixed), NOW);
    expect(stop).toMatchObject({ class: "compensable" });
    expect(stop?.summary).toContain("port 8080: no service until the new one is ready");
    expect(stop?.undo).toMatchObject({
      verb: "start",
      input: { digest: a.digest, handle: "worker-1.1-aaaaaaaaaaaa-1r0" },
    });
  });

  it("undoes the start of a new one by stopping it", () => {
    const [start] = stepsFor([copy("a")], a, b, NOW);
    expect(start).toMatchObject({ class: "reversible" });
    expect(start?.undo).toMatchObject({ verb: "stop", input: { handle: start?.input["handle"] } });
  });
});

describe("restart back-off", () => {
  it.each([
    { restarts: 0, waitMs: 100 },
    { restarts: 1, waitMs: 200 },
    { restarts: 4, waitMs: 1_600 },
    { restarts: 6, waitMs: 5_000 },
    { restarts: 4_000, waitMs: 5_000 },
  ])("waits $waitMs ms after exit number $restarts", ({ restarts, waitMs }) => {
    const [start] = stepsFor([gone("a", { restarts })], a, a, NOW);
    expect(start?.notBefore).toBe(NOW - 10 + waitMs);
    expect(start?.input).toMatchObject({ restarts: restarts + 1 });
  });

  it("does not move when it is planned again later", () => {
    const at = (now: number) => stepsFor([gone("a", { restarts: 4 })], a, a, now)[0];
    expect(at(NOW + 100)).toEqual(at(NOW));
  });

  it("is over once its time has come", () => {
    expect(stepsFor([gone("a")], a, a, NOW + 90)[0]?.notBefore).toBeUndefined();
  });

  it("is none after an exit that is yet to come, since the clock was set back", () => {
    const [start] = stepsFor([gone("a", { restarts: 4 })], a, a, NOW - 86_400_000);
    expect(start?.verb).toBe("start");
    expect(start?.notBefore).toBeUndefined();
  });

  it("begins anew after a copy that ran long", () => {
    const live = gone("a", { restarts: 9, startedAt: NOW - 10 - STABLE_RUN_MS });
    expect(stepsFor([live], a, a, NOW)[0]?.notBefore).toBe(NOW - 10 + 100);
  });

  it("names the copies that it replaces and the reason", () => {
    const [start] = stepsFor([gone("a")], a, a, NOW);
    expect(start?.input["replaces"]).toEqual(["worker-1.1-aaaaaaaaaaaa-0r0"]);
    expect(start?.input["handle"]).toBe("worker-1.1-aaaaaaaaaaaa-1r1");
    expect(start?.summary).toBe("start worker of 1.1.0 again (exited with status 3)");
  });
});
