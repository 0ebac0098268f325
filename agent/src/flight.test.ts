/** The agent's flights: each recorded machine goes the same way again, and a real agent that was killed left one. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import { CertificateSchema } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { replayFile, takeFlight } from "@holdfast/shared/flight/commands.ts";
import type { Machine } from "@holdfast/shared/flight/machine.ts";
import { FlightRecorder } from "@holdfast/shared/flight/recorder.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AGENT_FLIGHT } from "./flight.ts";
import { initialSession, type SessionEvent, sessionMachine } from "./link/session.ts";
import { enrollInto } from "./local/joining.ts";
import { decideMachine, type Situation } from "./reconcile/decide.ts";
import { CELL } from "./reconcile/engine.test-world.ts";
import { VENDOR } from "./reconcile/release.test-world.ts";

const NOW = Date.UTC(2026, 10, 20);
const SECRET = "hft_9f2c1d77aa0e4b5c8d6f";
const AGENT = idOf("agent", "00000000-0000-7000-8000-0000000000aa");
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), "holdfast-agent-flight-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

/** What the replay of these events says, once they were recorded. */
function flown<State extends Readonly<{ phase: string }>, Event, Effect>(
  machine: Machine<State, Event, Effect>,
  start: State,
  events: readonly Event[],
): string {
  const recorder = new FlightRecorder({
    ...{ fs, plan: AGENT_FLIGHT, directory, version: "1.0.0", life: "a" },
    ...{ clock: systemClock, log: silent },
  });
  const track = recorder.track(machine, AGENT);
  let state = start;
  events.forEach((event, i) => {
    [state] = track.step(state, event, NOW + i * 1_000, () => ((i * 7) % 10) / 10);
  });
  recorder.end("stopped");
  const out = join(directory, "out.jsonl");
  fs.rmSync(out, { force: true });
  takeFlight(fs, AGENT_FLIGHT, directory, out);
  expect(fs.readFileSync(out, "utf8")).not.toContain(SECRET);
  const lines: string[] = [];
  replayFile(fs, AGENT_FLIGHT, { file: out, print: (line) => void lines.push(line) });
  return lines.join("\n");
}

const text = fc.oneof(fc.string(), fc.constant(`10.0.0.1:443: ${SECRET}`));
const certificate = fc.record({ renewAt: fc.nat(), notAfter: fc.nat() }).map((times) => ({
  notBefore: NOW,
  renewAt: NOW + times.renewAt,
  notAfter: NOW + times.renewAt + times.notAfter,
}));
const connection = fc.integer({ min: 1, max: 5 });
const sessionEvents: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constantFrom<SessionEvent>({ type: "start" }, { type: "stop" }, { type: "fenced" }),
  fc.record({
    type: fc.constant("timer" as const),
    timer: fc.constantFrom("connect" as const, "welcome" as const, "renew" as const),
  }),
  fc.record({
    type: fc.constantFrom("welcomed" as const, "asked-to-leave" as const),
    connection,
    spreadMs: fc.nat(),
  }),
  fc.record({
    type: fc.constant("lost" as const),
    connection,
    kind: fc.constantFrom("unreachable" as const, "later" as const, "fenced" as const),
    reason: fc.constant("HUB_UNREACHABLE"),
    message: text,
  }),
  fc.record({ type: fc.constant("renewed" as const), certificate }),
  fc.record({ type: fc.constant("renewal-failed" as const), message: text }),
);

const generation = fc.record({ incarnation: fc.bigInt(0n, 2n), number: fc.bigInt(0n, 2n) });
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const digest = fc.constantFrom("", "one", SECRET);
const situations: fc.Arbitrary<Situation> = fc.record({
  wanted: maybe(fc.record({ generation, tombstone: fc.boolean(), removed: fc.boolean() })),
  inputsDigest: digest,
  committed: maybe(generation),
  isOutdated: fc.boolean(),
  attempt: maybe(
    fc.record({
      phase: fc.constantFrom("APPLYING" as const, "ENDED" as const),
      state: fc.constantFrom("RETURNED" as const, "COMMITTED" as const, "PARTIAL" as const),
      inputsDigest: digest,
      generation,
    }),
  ),
  hold: maybe(fc.record({ reason: fc.constant("SECRET_MISSING"), message: text })),
});

describe("a recorded machine goes the same way again", () => {
  it("as the link's session", () => {
    fc.assert(
      fc.property(fc.array(sessionEvents, { maxLength: 40 }), (events) => {
        const start = initialSession(2, {
          notBefore: NOW,
          renewAt: NOW + 10_000,
          notAfter: NOW + 1e9,
        });
        expect(flown(sessionMachine, start, events)).toMatch(/bit for bit the same$/);
      }),
      { numRuns: 60 },
    );
  });

  it("as the decisions about an instance", () => {
    fc.assert(
      fc.property(fc.array(situations, { maxLength: 30 }), (events) => {
        expect(flown(decideMachine, { phase: "new" }, events)).toMatch(/bit for bit the same$/);
      }),
      { numRuns: 60 },
    );
  });
});

/** An error that nobody catches, in the middle of a run. */
const CRASHES_ON_SIGNAL = `data:text/javascript,process.on("SIGUSR2",()=>{throw new TypeError("${SECRET}")})`;

describe("a real agent", () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const env = { PATH: "/nowhere" };
  const run = (...args: readonly string[]) => {
    const ended = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env });
    return { code: ended.status, said: ended.stdout, error: ended.stderr };
  };
  const state = () => join(directory, "state");
  const begun = (...options: readonly string[]): ChildProcess =>
    spawn(process.execPath, [...options, main, "run", "--state", state()], {
      env,
      stdio: "ignore",
    });
  const current = () => {
    const file = join(state(), "flight", "current.jsonl");
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  };
  const headerOf = (flight: string) => flight.slice(0, flight.indexOf("\n"));
  /** In a life that is not the one of this flight. */
  const recorded = async (what: string, before = "") => {
    for (let now = current(); ; now = current()) {
      if (now.includes(what) && headerOf(now) !== headerOf(before)) return;
      await systemClock.sleep(20);
    }
  };
  const ended = async (agent: ChildProcess, signal: NodeJS.Signals) => {
    const end = once(agent, "exit");
    agent.kill(signal);
    await end;
  };

  it("that was killed or crashed left a flight, which is kept when it starts again", {
    timeout: 60_000,
  }, async () => {
    fs.mkdirSync(state(), { mode: 0o700 });
    const host = { pid: 1, uid: process.getuid?.() ?? 0, startTimeOf: () => undefined };
    const identity = {
      ...{ vendorId: VENDOR, cellId: CELL, agentId: AGENT, fencing: 1n },
      ...{ tlsKey: new Uint8Array([1]), identitySeed: new Uint8Array(32) },
      certificate: create(CertificateSchema),
      ...{ linkEndpoints: ["127.0.0.1:1"], identityEndpoints: ["127.0.0.1:1"] },
    };
    await enrollInto(state(), host, NOW, {
      obtain: async () => ({ identity, keySets: [], incarnation: 1n }),
    });
    const killed = begun();
    await recorded("renewal-failed");
    await ended(killed, "SIGKILL");
    const out = join(directory, "out.jsonl");
    expect(run("record", "--state", state(), "--out", out)).toMatchObject({ code: 0, error: "" });
    expect(fs.statSync(out).mode & 0o777).toBe(0o600);
    const replayed = run("replay", out);
    expect(replayed).toMatchObject({ code: 0, error: "" });
    expect(replayed.said).toContain(`${AGENT} link: start  idle -> expired  [`);
    expect(replayed.said).toMatch(
      /renewal-failed message=text\(\d+, [0-9a-f]{12}\) {2}expired -> /,
    );

    const incidents = () =>
      fs.readdirSync(join(state(), "flight")).filter((name) => name.startsWith("incident-"));
    let before = current();
    const crashed = begun("--import", CRASHES_ON_SIGNAL);
    await recorded("renewal-failed", before);
    expect(incidents()).toHaveLength(1);
    expect(run("replay", join(state(), "flight", incidents()[0] ?? ""))).toMatchObject({
      code: 0,
      said: expect.stringContaining("no end: the program was killed"),
    });
    await ended(crashed, "SIGUSR2");
    expect(current()).toMatch(/\{"end":"crashed","at":\d+,"error":"TypeError"\}\n$/);

    before = current();
    const stopped = begun();
    await recorded("renewal-failed", before);
    await ended(stopped, "SIGTERM");
    expect(incidents()).toHaveLength(2);
    expect(current()).toMatch(/\{"end":"stopped","at":\d+\}\n$/);

    const damaged = run("replay", fs.writeFileSync(out, "{oops}\n") ?? out);
    expect([damaged.code, damaged.error]).toEqual([2, expect.stringContaining(`${out}:1: got`)]);
  });
});
