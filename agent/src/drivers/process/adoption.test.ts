/**
 * Workloads outlive the agent. A small agent is killed with SIGKILL; a fresh driver in another process finds its
 * work by the record, by the marks, or by both.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Live, StepOrder } from "../driver.ts";
import { readMarks, readProcess, readProcesses } from "../host-process/proc.ts";
import { readRecord, writeRecord } from "../host-process/record.ts";
import { processDriver } from "./index.ts";
import {
  ask,
  createWorld,
  DEADLINE_MS,
  eventually,
  INSTANCE,
  type World,
} from "./process.test-world.ts";

const PARENT = join(import.meta.dirname, "process.test-parent.ts");

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

/** Starts a workload by another process, kills that process, and says what was started. */
async function orphan(
  mode = "",
): Promise<Readonly<{ handle: string; runDir: string; pid: number }>> {
  const parent = spawn(process.execPath, [PARENT, world.stateDir, mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const { handle } = JSON.parse(line.toString()) as { handle: string };
  parent.kill("SIGKILL");
  await once(parent, "exit");
  const runDir = join(world.context.directories(INSTANCE).run, handle);
  const pid = readRecord(runDir)?.process?.pid;
  // Not 0, which to a signal is this test's own process group.
  if (pid === undefined) throw new Error("no process in the record");
  return { handle, runDir, pid };
}

async function only(): Promise<Live> {
  const found = await world.observe();
  expect(found).toHaveLength(1);
  return found[0] as Live;
}

describe("a workload whose agent was killed", () => {
  it("goes on, and is found as it was", async () => {
    const { handle, pid } = await orphan();
    const live = await only();
    expect(live).toMatchObject({ handle, phase: "running", restarts: 0 });
    expect((await ask(live)).pid).toBe(pid);
    expect(world.driver().steps([live], world.wanted(), world.wanted(), 0)).toEqual([]);
  });

  it("leads a session of its own and holds no file of the agent", async () => {
    const { handle, pid } = await orphan();
    const { group, session } = readProcess("/proc", pid) ?? {};
    expect({ group, session }).toEqual({ group: pid, session: pid });
    const fds = join("/proc", String(pid), "fd");
    const links = new Map(readdirSync(fds).map((fd) => [fd, readlinkSync(join(fds, fd))]));
    const log = join(world.context.directories(INSTANCE).logs, `${handle}.log`);
    expect(["0", "1", "2"].map((fd) => links.get(fd))).toEqual(["/dev/null", log, log]);
    expect([...links.values()]).not.toContain(join(world.stateDir, "agent.db"));
  });

  it("is told from its record alone by a look at what is recorded", async () => {
    const { runDir, pid } = await orphan();
    const { driver, context } = world;
    const recorded = () => driver().observe(context, "recorded");
    // Its fields are read by a look at everything alone.
    const { fields: _, ...live } = await only();
    expect(await recorded()).toEqual([live]);
    process.kill(pid, "SIGKILL");
    await eventually("it has exited", async () => {
      const [live] = await recorded();
      return live?.phase === "exited" ? live : undefined;
    });
    rmSync(runDir, { recursive: true });
    expect(await recorded()).toEqual([]);
  });

  it.each([
    { what: "its record", remove: "record.json" },
    { what: "its whole run directory", remove: "." },
  ])("is found by its marks without $what", async ({ remove }) => {
    const { handle, runDir, pid } = await orphan();
    // What its fields should be is in the record that goes.
    const { fields: _, ...before } = await only();
    rmSync(join(runDir, remove), { recursive: true });
    const live = await only();
    expect({ ...live, startedAt: 0 }).toEqual({ ...before, startedAt: 0 });
    // The record says when the start began, the kernel when the process was there.
    expect(Math.abs(live.startedAt - before.startedAt)).toBeLessThan(DEADLINE_MS);
    expect(live.handle).toBe(handle);
    expect(readRecord(runDir)?.process?.pid).toBe(pid);
    const health = await world.driver().health(live, world.wanted(), world.context);
    expect(health.state).toBe("ready");
    await stop(live);
    expect(readProcess("/proc", pid)?.ended ?? true).toBe(true);
    expect(await world.observe()).toEqual([]);
  });

  it("is found by its record after it has replaced its environment", async () => {
    const { handle, pid } = await orphan("reexec");
    const live = await only();
    expect(live).toMatchObject({ handle, phase: "running" });
    expect((await ask(live)).env).not.toHaveProperty("HOLDFAST_COPY");
    await stop(live);
    expect(readProcess("/proc", pid)?.ended ?? true).toBe(true);
  });

  it("is not started a second time when its start is run again", async () => {
    const { runDir, pid } = await orphan();
    const [start] = world.driver().steps([], undefined, world.wanted(), 0);
    if (start === undefined) throw new Error("no step");
    for (const remove of [undefined, "record.json", "."]) {
      if (remove !== undefined) rmSync(join(runDir, remove), { recursive: true });
      const outcome = await world.driver().run(start, world.known(world.wanted()));
      const live = await only();
      expect(outcome).toMatchObject({ handle: live.handle, outputs: live.outputs });
      expect((await ask(live)).pid).toBe(pid);
      expect(readRecord(runDir)?.process?.pid).toBe(pid);
    }
  });

  it("that has ended meanwhile is seen to have, with an unknown status and its last line", async () => {
    const { pid } = await orphan();
    process.kill(pid, "SIGKILL");
    const live = await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    expect(live.message).toBe("exit status unknown after adoption: hello from 1.0.0");
    expect((await world.observe())[0]?.exitedAt).toBe(live.exitedAt);
  });
});

describe("an agent that is killed at any moment of a start", () => {
  const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    "leaves at most one process, which the next one finds: round %i",
    async (round) => {
      const parent = spawn(process.execPath, [PARENT, world.stateDir, "race"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(parent.stdout, "data");
      // Reading /proc, ports, spawn and record take some 5 to 60 ms after the parent has said that it begins.
      await world.context.clock.sleep((seed * (round + 1) * 7_919) % (4 + round * 8));
      parent.kill("SIGKILL");
      await once(parent, "exit");
      const wanted = world.wanted({ with: { env: { MODE: "race" } } });
      const [start] = world.driver().steps([], undefined, wanted, 0);
      const before = await marked();
      const outcome = await world.driver().run(start as StepOrder, world.known(wanted));
      expect(before.length).toBeLessThanOrEqual(1);
      const after = await marked();
      expect(after).toHaveLength(1);
      if (before.length === 1) expect(after).toEqual(before);
      const live = await only();
      expect(live).toMatchObject({ handle: outcome.handle, outputs: outcome.outputs });
      const record = readRecord(join(world.context.directories(INSTANCE).run, live.handle));
      expect(record?.process?.pid).toBe(after[0]);
    },
  );

  /** Processes of this state directory, whatever the driver thinks of them. */
  async function marked(): Promise<readonly number[]> {
    const all = await readProcesses("/proc");
    return all.flatMap(({ pid, ended }) => {
      const state = ended ? undefined : readMarks("/proc", pid)?.get("HOLDFAST_AGENT_STATE");
      return state === world.stateDir ? [pid] : [];
    });
  }
});

describe("a record that names another process", () => {
  it.each([
    { what: "an earlier start time", change: { startTicks: 1 }, says: /^exit status unknown/ },
    {
      what: "another boot",
      change: { bootId: "00000000-0000-0000-0000-000000000000" },
      says: /^ended with the host/,
    },
  ])("does not adopt or touch it: $what", async ({ change, says }) => {
    const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {
      detached: true,
      stdio: "ignore",
    });
    try {
      const { runDir, pid } = await orphan();
      process.kill(pid, "SIGKILL");
      await eventually("it has ended", () => (readProcess("/proc", pid) ? undefined : true));
      const record = readRecord(runDir);
      const strange = readProcess("/proc", stranger.pid ?? 0);
      if (!record?.process || !strange) throw new Error("nothing to forge");
      const forged = {
        ...record.process,
        pid: strange.pid,
        startTicks: strange.startTicks,
        ...change,
      };
      writeRecord(runDir, { ...record, process: forged });
      const live = await only();
      expect(live.phase).toBe("exited");
      expect(live.message).toMatch(says);
      await stop(live);
      expect(readProcess("/proc", strange.pid)?.ended).toBe(false);
      expect(await world.observe()).toEqual([]);
    } finally {
      stranger.kill("SIGKILL");
    }
  });
});

describe("a process with made-up marks", () => {
  it.each([
    { HOLDFAST_INSTANCE: "../../etc", HOLDFAST_COPY: "worker-1.1-a-0r0" },
    { HOLDFAST_INSTANCE: INSTANCE, HOLDFAST_COPY: "../../../etc" },
    { HOLDFAST_INSTANCE: INSTANCE, HOLDFAST_COPY: "worker-1.1-a-0r0", HOLDFAST_GENERATION: "soon" },
  ])("is left alone and hides nothing: %j", async (marks) => {
    const { handle } = await orphan();
    const env = { HOLDFAST_AGENT_STATE: world.stateDir, HOLDFAST_RESOURCE: "worker", ...marks };
    const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {
      ...{ env, detached: true, stdio: "ignore" },
    });
    try {
      expect(await world.observe()).toMatchObject([{ handle, phase: "running" }]);
    } finally {
      stranger.kill("SIGKILL");
    }
  });
});

describe("a /proc that cannot be read everywhere", () => {
  it("still shows what can be read, by record alone where environments are closed", async () => {
    const { handle, pid } = await orphan();
    const procDir = join(world.stateDir, "proc");
    for (const folder of ["7", "8", "9", String(pid)])
      mkdirSync(join(procDir, folder), { recursive: true });
    writeFileSync(join(procDir, "7", "stat"), "7 (half a li");
    writeFileSync(join(procDir, "8", "stat"), "");
    for (const file of ["stat", "status"])
      symlinkSync(`/proc/${pid}/${file}`, join(procDir, String(pid), file));
    for (const file of ["uptime", "sys"]) symlinkSync(`/proc/${file}`, join(procDir, file));
    const found = await processDriver({ ...world.host, procDir }).observe(world.context);
    expect(found).toMatchObject([{ handle, phase: "running" }]);
  });
});

async function stop(live: Live): Promise<void> {
  const steps = world.driver().steps([live], world.wanted(), undefined, world.context.clock.now());
  await world.carryOut(steps, world.wanted());
}
