/**
 * An init that starts the agent again whenever it ends, and tells only the agent's own process to end (systemd's
 * KillMode=process): whatever it does, the workload stays, answers all the time, and is told of as it is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { agentWorld, instanceId, realDriver } from "./engine.test-world.ts";

const CHILD = fileURLToPath(new URL("./init.test-world.ts", import.meta.url));
const DEADLINE_MS = 60_000;

type Line = Readonly<{
  pid: number;
  port: number;
  restarts: number;
  ready?: string;
  drifted?: string;
}>;

/** Restart=always: the next one is there as soon as the one before has ended. */
function startInit(stateDir: string) {
  const lines: Line[] = [];
  const ends: string[] = [];
  const rings = new Set<() => void>();
  let isWanted = true;
  let main: ChildProcess;
  const start = (): void => {
    main = spawn(process.execPath, [CHILD, stateDir], { stdio: ["ignore", "pipe", "inherit"] });
    const out = createInterface({ input: main.stdout as NodeJS.ReadableStream });
    out.on("line", (text) => {
      lines.push(JSON.parse(text) as Line);
      for (const ring of rings) ring();
    });
    main.once("exit", (code, signal) => {
      ends.push(signal ?? `status ${code}`);
      if (isWanted) start();
    });
  };
  start();
  return {
    lines,
    ends,
    /** To the main process alone. */
    kill: (signal: NodeJS.Signals) => main.kill(signal),
    /** The first line from now on, or from `since` on, for which it holds. */
    async until(holds: (line: Line) => boolean, since = lines.length): Promise<Line> {
      const late = AbortSignal.timeout(DEADLINE_MS);
      for (;;) {
        const found = lines.slice(since).find(holds);
        if (found !== undefined) return found;
        if (late.aborted) throw new Error(`never; last: ${JSON.stringify(lines.slice(-3))}`);
        await new Promise<void>((resolve) => {
          const ring = () => {
            rings.delete(ring);
            resolve();
          };
          rings.add(ring);
          late.addEventListener("abort", ring, { once: true });
        });
      }
    },
    async stop(): Promise<void> {
      isWanted = false;
      if (main.exitCode !== null || main.signalCode !== null) return;
      const ended = once(main, "exit");
      main.kill("SIGTERM");
      await ended;
    },
  };
}

/** The pid that answers on the port. */
function ask(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("data", (part) => {
      said += String(part);
    });
    socket.once("error", reject);
    // Nothing is no pid: to a signal 0 is this test's own process group.
    socket.once("end", () =>
      said === "" ? reject(new Error("no answer")) : resolve(Number(said)),
    );
  });
}

let stateDir: string;
let init: ReturnType<typeof startInit>;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "holdfast-init-"));
  init = startInit(stateDir);
});
afterEach(async () => {
  await init.stop();
  const agent = (await agentWorld(stateDir)).begin({ isReal: true });
  // Nobody may start it again while it is dropped.
  await agent.end();
  const { signal } = new AbortController();
  await realDriver().drop(instanceId(), { ...agent.context, signal });
  rmSync(stateDir, { recursive: true, force: true });
});

const isReady = ({ ready }: Line) => ready === "READY";

describe("an init that restarts the agent", () => {
  it("leaves the workload as it is, which never misses an answer", async () => {
    const first = await init.until(isReady, 0);
    const workload = await ask(first.port);
    const failures: unknown[] = [];
    let isProbing = true;
    let answers = 0;
    const probing = (async () => {
      while (isProbing) {
        const pid = await ask(first.port).catch((error: unknown) => error);
        if (pid === workload) answers += 1;
        else failures.push(pid);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (const signal of ["SIGTERM", "SIGKILL", "SIGTERM"] as const) {
      const since = init.lines.length;
      const { pid: before } = init.lines.at(-1) as Line;
      init.kill(signal);
      const again = await init.until((line) => isReady(line) && line.pid !== before, since);
      expect(again).toMatchObject({ port: first.port, restarts: 0 });
    }
    isProbing = false;
    await probing;
    expect(init.ends).toEqual(["status 0", "SIGKILL", "status 0"]);
    expect(failures).toEqual([]);
    expect(answers).toBeGreaterThan(10);
    expect(await ask(first.port)).toBe(workload);
  });

  it("learns of a workload that ended meanwhile, with a status that nobody can know", async () => {
    const first = await init.until(isReady, 0);
    const workload = await ask(first.port);
    const since = init.lines.length;
    init.kill("SIGKILL");
    process.kill(workload, "SIGKILL");
    const drifted = await init.until(
      ({ drifted: what }) => what?.includes("start worker") === true,
      since,
    );
    expect(drifted.drifted).toContain("exit status unknown after adoption: hello");
    const again = await init.until((line) => isReady(line) && line.restarts === 1, since);
    expect(await ask(again.port)).not.toBe(workload);
  });
});
