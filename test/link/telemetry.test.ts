/** Telemetry on the report stream, over the real link: beside usage, never before it, and counted where it is lost. */
import { type Telemetry, TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { BUFFER_BOUNDS, TelemetryBuffer } from "../../agent/src/telemetry/buffer.ts";
import { TelemetryReport } from "../../agent/src/telemetry/report.ts";
import { TELEMETRY_IN_FLIGHT_MAX } from "../../hub/src/link/limits.ts";
import { connect, fleet } from "./fleet.ts";
import { enrolled, type MemoryAgent } from "./memory-agent.ts";
import { eventually, MemoryHub } from "./world.ts";

const INSTANCE = "ins_01980000000070008000000000000001";

function talker(agent: MemoryAgent, bounds = {}) {
  const buffer = new TelemetryBuffer("life", { ...BUFFER_BOUNDS, ...bounds });
  const settled: number[] = [];
  const report = new TelemetryReport({
    buffer,
    settled: (lines) => settled.push(...lines.map(({ position }) => position)),
  });
  const say = (from: number, count: number, text = "x") => {
    for (let n = from; n < from + count; n++) {
      const about = { instanceId: INSTANCE, resource: "worker", copy: "worker-1~a", timeMs: n };
      buffer.putLine({ ...about, position: n + 1, text: `${n} ${text}`, cutBytes: 0 });
    }
    agent.batchBell.ring();
  };
  return { buffer, report, say, settled };
}

const linesIn = (messages: readonly Telemetry[]) =>
  messages.flatMap(({ logs }) => logs).reduce((sum, { lineCount }) => sum + lineCount, 0);

/** A line that fills a message. */
const LARGE = "y".repeat(60_000);

describe("telemetry", () => {
  it("goes up, is answered, and is let go of", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    const { report, say, settled } = talker(agent);
    say(0, 5_000);
    connect(agent, { telemetry: report });
    await eventually("all lines", () => linesIn(hub.telemetry) === 5_000);
    await eventually("all answers", () => settled.length === 5_000);
  });

  it("never holds up usage, however slow the hub keeps it", async () => {
    const hub = new MemoryHub();
    let open: () => void = () => undefined;
    hub.keeping = new Promise((resolve) => {
      open = resolve;
    });
    const { world } = await fleet(hub);
    const agent = await enrolled(world);
    const { report, say } = talker(agent);
    say(0, 100, LARGE);
    connect(agent, { telemetry: report });
    await eventually("the stream", () => agent.pages.length === 2);
    for (let seq = 1n; seq <= 50n; seq++) agent.measure(seq);
    await eventually("all usage", () => agent.acks.at(-1)?.acceptedSeq === 50n);
    expect(hub.telemetry).toEqual([]);
    open();
    await eventually("all lines", () => linesIn(hub.telemetry) === 100);
  });

  it("waits as long as there is usage to send", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    const { report, say } = talker(agent);
    say(0, 100);
    for (let seq = 1n; seq <= 500n; seq++) agent.measure(seq);
    const seen: number[] = [];
    const told = hub.told.bind(hub);
    hub.told = async (session, message) => {
      seen.push(agent.pending.length);
      await told(session, message);
    };
    connect(agent, { telemetry: report });
    await eventually("all lines", () => linesIn(hub.telemetry) === 100);
    expect(seen.every((waiting) => waiting === 0)).toBe(true);
  });

  it("is bounded on its way", async () => {
    const hub = new MemoryHub();
    hub.keeping = new Promise(() => undefined);
    const { world } = await fleet(hub);
    const agent = await enrolled(world);
    const { report, say } = talker(agent);
    let asked = 0;
    const next = report.next.bind(report);
    report.next = () => {
      asked += 1;
      return next();
    };
    say(0, 100, LARGE);
    connect(agent, { telemetry: report });
    await eventually("the first messages", () => asked === TELEMETRY_IN_FLIGHT_MAX);
    agent.measure(1n);
    await eventually("usage", () => agent.acks.length === 1);
    expect(asked).toBe(TELEMETRY_IN_FLIGHT_MAX);
  });

  it("that the hub refuses is counted, and ends no stream", async () => {
    const hub = new MemoryHub();
    hub.refuseTelemetry = new Fault("RESOURCE_EXHAUSTED", "STORE_FULL", "no room");
    const { world } = await fleet(hub);
    const agent = await enrolled(world);
    const { report, say, settled } = talker(agent);
    say(0, 1_204);
    connect(agent, { telemetry: report });
    await eventually("the refusals", () => settled.length === 1_204);
    hub.refuseTelemetry = undefined;
    say(1_204, 1);
    await eventually("the count", () => hub.telemetry.some(({ missing }) => missing.length > 0));
    const notes = hub.telemetry.flatMap(({ missing }) => missing);
    expect(notes.reduce((sum, { count }) => sum + count, 0n)).toBe(1_204n);
    expect(notes[0]).toMatchObject({ class: TelemetryClass.LOGS, reason: "HUB_REFUSED" });
    expect(agent.pages).toHaveLength(2);
  });

  it("that was lost with a connection goes again on the next one", async () => {
    const hub = new MemoryHub();
    hub.keeping = new Promise(() => undefined);
    const { world, running } = await fleet(hub);
    const agent = await enrolled(world);
    const { report, say, settled } = talker(agent);
    say(0, 10);
    connect(agent, { telemetry: report });
    await eventually("the stream", () => agent.pages.length === 2);
    hub.keeping = Promise.resolve();
    await running.link.sessions.each((session) => session.end(new Fault("UNAVAILABLE", "X", "x")));
    await eventually("the lines", () => settled.length === 10);
    expect(linesIn(hub.telemetry)).toBe(10);
  });
});
