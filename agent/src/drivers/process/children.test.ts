/** Children of the agent whose end nobody tells of, or whose number is another's: no look may wait for them for long. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StepOrder } from "../driver.ts";
import { readMarks, readProcesses } from "../host-process/proc.ts";
import { readRecord, writeRecord } from "../host-process/record.ts";
import { processDriver } from "./index.ts";
import { ask, createWorld, eventually, INSTANCE, type World } from "./process.test-world.ts";

let world: World;
let procDir: string;
beforeEach(() => {
  world = createWorld();
  procDir = join(world.stateDir, "proc");
  mkdirSync(procDir);
  for (const file of ["uptime", "sys", "net"]) symlinkSync(`/proc/${file}`, join(procDir, file));
});
afterEach(() => world.end());

/** As the driver of the same agent, where /proc is made up. */
const elsewhere = () => processDriver({ ...world.host, procDir });

function runDirOf(handle: string): string {
  return join(world.context.directories(INSTANCE).run, handle);
}

describe("a look", () => {
  it("does not wait for a child that has the pid of a copy that ended long ago", async () => {
    const live = await world.running(world.wanted());
    const record = readRecord(runDirOf(live.handle));
    if (record?.process === undefined) throw new Error("no process in the record");
    const handle = live.handle.replace(/0r0$/, "7r0");
    mkdirSync(runDirOf(handle));
    const earlier = { ...record.process, startTicks: record.process.startTicks - 1 };
    writeRecord(runDirOf(handle), { ...record, handle, process: earlier });
    for (const scope of ["all", "recorded"] as const) {
      rmSync(join(runDirOf(handle), "exit.json"), { force: true });
      const seen = await world.driver().observe(world.context, scope);
      expect(new Map(seen.map((each) => [each.handle, each.phase]))).toEqual(
        new Map([
          [live.handle, "running"],
          [handle, "exited"],
        ]),
      );
    }
  });

  it("calls an end unknown that was seen and is never told of", async () => {
    const live = await world.running(world.wanted());
    const { pid } = await ask(live);
    // As after a wait for any child by somebody else in this process: what ends is not told here.
    mkdirSync(join(procDir, String(pid)));
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    fields.splice(0, 1, "Z");
    fields.splice(17, 1, "1");
    writeFileSync(join(procDir, String(pid), "stat"), `${pid} (node) ${fields.join(" ")}`);
    const clock = { ...systemClock, sleep: (ms: number) => systemClock.sleep(ms / 100) };
    const [seen] = await elsewhere().observe({ ...world.context, clock });
    expect(seen).toMatchObject({ handle: live.handle, phase: "exited" });
    expect(seen?.message).toMatch(/^exit status unknown/);
  });
});

describe("a start that was cut off a moment ago", () => {
  it("waits for a process that does not show its marks yet, and starts no second one", async () => {
    const wanted = world.wanted();
    const [start] = world.driver().steps([], undefined, wanted, 0);
    const live = await world.running(wanted);
    const record = readRecord(runDirOf(live.handle));
    if (start === undefined || record === undefined) throw new Error("nothing was started");
    const { pid } = await ask(live);
    const now = systemClock.now();
    writeRecord(runDirOf(live.handle), { ...record, process: undefined, beganAt: now });
    const clock: Clock = {
      ...systemClock,
      now: () => now,
      sleep: async () => symlinkSync(`/proc/${pid}`, join(procDir, String(pid))),
    };
    const { message } = await elsewhere().run(start, { ...world.known(wanted), clock });
    expect(message).toBe("was started before");
    expect(await world.observe()).toMatchObject([{ handle: live.handle, phase: "running" }]);
    expect(readRecord(runDirOf(live.handle))?.process?.pid).toBe(pid);
  });
});

describe("a start whose process cannot be seen", () => {
  it("fails at once and leaves no process behind", async () => {
    const wanted = world.wanted();
    const order = elsewhere().steps([], undefined, wanted, 0)[0] as StepOrder;
    await expect(elsewhere().run(order, world.known(wanted))).rejects.toMatchObject({
      reason: "PROCESS_NOT_STARTED",
      message: expect.stringContaining("cannot be seen"),
    });
    await eventually("it has ended", async () => {
      const all = await readProcesses("/proc");
      const ours = all.filter(
        ({ pid, ended }) =>
          !ended && readMarks("/proc", pid)?.get("HOLDFAST_AGENT_STATE") === world.stateDir,
      );
      return ours.length === 0 || undefined;
    });
  });
});
