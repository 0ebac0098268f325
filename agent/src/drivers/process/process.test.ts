/** What a started process gets, how it is stopped, and what is refused. Real processes, one state directory each. */
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JsonObject, Live, StepOrder } from "../driver.ts";
import { readProcess, readProcesses } from "../host-process/proc.ts";
import { LOG_FILES_MAX, openLog } from "../logs.ts";
import { isHandle } from "../names.ts";
import { LOG_PART_BYTES } from "../retention.ts";
import {
  ask,
  createWorld,
  eventually,
  INSTANCE,
  portOf,
  type World,
} from "./process.test-world.ts";

/** How a spec names a secret. */
const named = (secret: string) => `\${secrets.${secret}}`;

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

describe("a started process", () => {
  it("gets arguments literally, whatever characters they hold", async () => {
    const nasty = [
      "; touch /tmp/x",
      "$(id)",
      "`id`",
      "a && b",
      "| cat",
      "'\"",
      "*",
      "%s%n",
      "a\nb",
      "",
    ];
    const argv = ["node", "worker.mjs", ...nasty];
    const live = await world.running(world.wanted({ with: { argv } }));
    expect((await ask(live)).argv).toEqual(nasty);
  });

  it("has an environment built from nothing", async () => {
    const wanted = world.wanted({ with: { env: { BATCH_ROWS: 500, FLAG: true } } });
    const live = await world.running(wanted);
    const { env, cwd, umask } = await ask(live);
    const runDir = join(world.context.directories(INSTANCE).run, live.handle);
    expect(env).toEqual({
      HOLDFAST_AGENT_STATE: world.stateDir,
      HOLDFAST_INSTANCE: INSTANCE,
      HOLDFAST_RESOURCE: "worker",
      HOLDFAST_COPY: live.handle,
      HOLDFAST_GENERATION: "1.1",
      HOLDFAST_DIGEST: wanted.digest,
      HOLDFAST_PORT_HTTP: String(portOf(live)),
      HOLDFAST_RELEASE: "1.0.0",
      HOLDFAST_RUN_DIR: runDir,
      HOLDFAST_DATA_DIR: world.context.directories(INSTANCE).data,
      HOLDFAST_SEATS_FILE: world.context.directories(INSTANCE).seatsFile,
      PATH: "/usr/local/bin:/usr/bin:/bin",
      LANG: "C.UTF-8",
      TZ: "UTC",
      BATCH_ROWS: "500",
      FLAG: "true",
    });
    expect({ cwd, umask }).toEqual({ cwd: runDir, umask: 0o077 });
  });

  it("finds its secrets in files that only its owner can read, and nowhere else", async () => {
    const secrets = new Map([["source_dsn", "postgres://user:hunter22@db/x"]]);
    const wanted = world.wanted({
      secrets,
      with: { secretFiles: { dsn: named("source_dsn") }, env: { MODE: "leaky" } },
    });
    const live = await world.running(wanted);
    const { env } = await ask(live);
    const path = env["HOLDFAST_SECRET_DSN_FILE"] ?? "";
    expect(path).toBe(join(env["HOLDFAST_RUN_DIR"] ?? "", "secrets", "dsn"));
    expect(readFileSync(path, "utf8")).toBe("postgres://user:hunter22@db/x");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, "..")).mode & 0o777).toBe(0o700);
    expect(JSON.stringify(env)).not.toContain("hunter22");
    expect(readFileSync(join(env["HOLDFAST_RUN_DIR"] ?? "", "record.json"), "utf8")).not.toContain(
      "hunter22",
    );
    await stop(live);
    expect(existsSync(path)).toBe(false);
  });

  it("shows its last lines of output without its secrets and without control characters", async () => {
    const wanted = world.wanted({
      secrets: new Map([["dsn", "hunter22\u001b[31m\nsecond line"]]),
      with: { secretFiles: { dsn: named("dsn") }, env: { MODE: "leaky" } },
    });
    const live = await world.running(wanted);
    const lines = await world.driver().logs(live, 10, world.context);
    expect(lines).toEqual(["hello from 1.0.0", "the dsn is [redacted]", "[redacted]"]);
    expect(await world.driver().logs(live, 1, world.context)).toEqual(lines.slice(2));
  });
});

const METADATA = "http://169.254.169.254/";
const probing = (liveness: JsonObject): JsonObject => ({ liveness });

describe("a start that is refused", () => {
  it.each([
    { what: "a command as text", more: { argv: "node worker.mjs; rm -rf /" } },
    { what: "a program on the PATH", more: { argv: ["sh", "-c", "id"] } },
    { what: "an absolute program", more: { argv: ["/bin/sh"] } },
    { what: "a program above the artefact", more: { argv: ["../bin/sh"] } },
    { what: "an option instead of a program", more: { argv: ["node", "--eval=1"] } },
    { what: "a program that is not there", more: { argv: ["node", "missing.mjs"] } },
    { what: "a link out of the artefact", more: { argv: ["node", "link.mjs"] } },
    { what: "a linked folder out of the artefact", more: { argv: ["up/hostname"] } },
    { what: "a file that cannot be executed", more: { argv: ["worker.mjs"] } },
    { what: "a file that only a shell would run", more: { argv: ["script"] } },
    { what: "a preloaded library", more: { env: { LD_PRELOAD: "/tmp/x.so" } } },
    { what: "options for node", more: { env: { NODE_OPTIONS: "--require=/tmp/x.js" } } },
    { what: "a PATH", more: { env: { PATH: "/tmp" } } },
    { what: "a mark", more: { env: { HOLDFAST_COPY: "other" } } },
    { what: "a name with =", more: { env: { "A=B": "1" } } },
    { what: "a name with a line break", more: { env: { "A\nB": "1" } } },
    { what: "a NUL in an argument", more: { argv: ["node", "worker.mjs", "a\0b"] } },
    { what: "compiled code from elsewhere", more: { env: { NODE_COMPILE_CACHE: "/tmp" } } },
    { what: "another root of trust", more: { env: { SSL_CERT_FILE: "/tmp/ca.pem" } } },
    { what: "port 0", more: { ports: { http: { fixed: 0 } } } },
    { what: "port 65536", more: { ports: { http: { fixed: 65_536 } } } },
    { what: "a port below 1024", more: { ports: { http: { fixed: 80 } } } },
    { what: "one port twice", more: { ports: { http: { fixed: 8_080 }, b: { fixed: 8_080 } } } },
    { what: "CPU -1", more: { limits: { cpuMillis: -1 } } },
    { what: "CPU 1e308", more: { limits: { cpuMillis: 1e308 } } },
    { what: "CPU 0.0001", more: { limits: { cpuMillis: 0.0001 } } },
    { what: "memory 1Ki", more: { limits: { memoryMib: "1Ki" } } },
    { what: "memory 1Ei", more: { limits: { memoryMib: "1Ei" } } },
    {
      what: "a limit below the request",
      more: { limits: { memoryMib: 64 }, requests: { memoryMib: 65 } },
    },
    { what: "a check of another host", more: probing({ http: { port: "http", path: METADATA } }) },
    { what: "a check by a shell", more: probing({ exec: { argv: ["/bin/sh", "-c", "id"] } }) },
    { what: "a check every 0 ms", more: probing({ tcp: { port: "http" }, intervalMs: 0 }) },
    {
      what: "a check that outlasts its interval",
      more: probing({ tcp: { port: "http" }, intervalMs: 500, timeoutMs: 600 }),
    },
    { what: "root by name", more: { user: "root" } },
  ] satisfies { what: string; more: JsonObject }[])("$what", async ({ more }) => {
    symlinkSync("/etc/passwd", join(world.artefact, "link.mjs"));
    symlinkSync("/etc", join(world.artefact, "up"));
    writeFileSync(join(world.artefact, "script"), "touch /tmp/x", { mode: 0o755 });
    const wanted = world.wanted({ with: more });
    const refusal = { name: "Fault", code: "INVALID_ARGUMENT" };
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject(refusal);
    const order = world.driver().steps([], undefined, world.wanted(), 0)[0] as StepOrder;
    await expect(world.driver().run(order, world.known(wanted))).rejects.toMatchObject(refusal);
    expect(await world.observe()).toEqual([]);
  });

  it("for want of its secret or its artefact", async () => {
    const secret = world.wanted({ with: { secretFiles: { dsn: named("dsn") } } });
    await expect(world.driver().prepare(secret, world.context)).rejects.toMatchObject({
      reason: "SECRET_MISSING",
    });
    const artefact = world.wanted({ artefacts: new Map() });
    await expect(world.driver().prepare(artefact, world.context)).rejects.toMatchObject({
      reason: "ARTEFACT_MISSING",
    });
  });

  it("because the disk refuses is a fault that can be tried again", async () => {
    const order = world.driver().steps([], undefined, world.wanted(), 0)[0] as StepOrder;
    const runDir = join(world.context.directories(INSTANCE).run, String(order.input["handle"]));
    writeFileSync(runDir, "a file where a folder should be");
    await expect(world.driver().run(order, world.known(world.wanted()))).rejects.toMatchObject({
      ...{ code: "UNAVAILABLE", reason: "HOST_REFUSED" },
      message: expect.stringContaining("EEXIST"),
    });
    await world.driver().run(order, world.known(world.wanted()));
    expect(await world.observe()).toHaveLength(1);
  });

  it("because the kernel cannot run it says why", async () => {
    writeFileSync(join(world.artefact, "broken"), "#!/no/such/interpreter\n", { mode: 0o755 });
    const wanted = world.wanted({ with: { argv: ["broken"] } });
    const order = world.driver().steps([], undefined, wanted, 0)[0] as StepOrder;
    await expect(world.driver().run(order, world.known(wanted))).rejects.toMatchObject({
      reason: "PROCESS_NOT_STARTED",
      message: expect.stringContaining("ENOENT"),
    });
  });
});

describe("stopping", () => {
  it("kills what does not end within its grace, and says so", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "stubborn" }, stop: { graceMs: 200 } } });
    const live = await world.running(wanted);
    const [outcome] = await stop(live, wanted);
    expect(outcome?.message).toBe("it did not end within 200 ms after SIGTERM; killed");
    expect(await world.observe()).toEqual([]);
  });

  it("ends the children too, also those that ignore the signal", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "parent" }, stop: { graceMs: 300 } } });
    const live = await world.running(wanted);
    const { pid } = await ask(live);
    const child = await eventually("its child runs", async () =>
      (await readProcesses("/proc")).find(({ parent }) => parent === pid),
    );
    await eventually("its child listens to signals", async () => {
      const lines = await world.driver().logs(live, 10, world.context);
      return lines.filter((line) => line.startsWith("hello")).length === 2 || undefined;
    });
    await stop(live, wanted);
    expect(readProcess("/proc", child.pid)?.ended ?? true).toBe(true);
    expect(await world.observe()).toEqual([]);
  });

  it("ends the children of a copy that has ended by itself before it is started again", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "parent" } } });
    const live = await world.running(wanted);
    const { pid } = await ask(live);
    const child = await eventually("its child runs", async () =>
      (await readProcesses("/proc")).find(({ parent }) => parent === pid),
    );
    process.kill(pid, "SIGKILL");
    await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    expect(readProcess("/proc", child.pid)?.ended).toBe(false);
    const again = await world.running(wanted);
    expect(again).toMatchObject({ restarts: 1, phase: "running" });
    expect(readProcess("/proc", child.pid)?.ended ?? true).toBe(true);
    expect(await world.observe()).toHaveLength(1);
  });

  it("is left to be run again when the agent stops in the middle", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "stubborn" }, stop: { graceMs: 60_000 } } });
    const live = await world.running(wanted);
    const leave = new AbortController();
    const [step] = world.driver().steps([live], wanted, undefined, 0);
    const running = world
      .driver()
      .run(step as StepOrder, { ...world.known(wanted), signal: leave.signal });
    await eventually("it is being stopped", async () =>
      (await world.observe()).find(({ phase }) => phase === "stopping"),
    );
    leave.abort();
    await expect(running).rejects.toMatchObject({ code: "CANCELLED" });
    expect((await ask(live)).release).toBe("1.0.0");
  });
});

describe("a restart that was asked for", () => {
  it("has the new copy beside the old one, which goes last", async () => {
    const wanted = world.wanted();
    const live = await world.running(wanted);
    const { pid } = await ask(live);
    const [start, ...stops] = world.driver().restart(await world.observe(), wanted);
    await world.carryOut(start === undefined ? [] : [start], wanted);
    const both = await world.observe();
    expect(both.map(({ handle }) => handle)).toContain(live.handle);
    expect(both).toHaveLength(2);
    await world.carryOut(stops, wanted);
    const [left, ...more] = await world.observe();
    expect(more).toEqual([]);
    expect(left?.handle).toBe(start?.input["handle"]);
    expect((await ask(await world.running(wanted))).pid).not.toBe(pid);
  });
});

describe("a signal", () => {
  const order = (signal: string): StepOrder => ({
    resourceId: "worker",
    kind: "process",
    verb: "signal",
    input: { instance: INSTANCE, signal },
  });

  it("reaches a workload that waits for it", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "hup" } } });
    const live = await world.running(wanted);
    const outcome = await world.driver().run(order("SIGHUP"), world.known(wanted));
    expect(outcome.message).toBe("SIGHUP to 1 of 1 copies");
    await eventually("it was told", async () =>
      (await world.driver().logs(live, 1, world.context)).find((line) => line === "told by SIGHUP"),
    );
  });

  it("spares a workload that it would end", async () => {
    const live = await world.running(world.wanted());
    const outcome = await world.driver().run(order("SIGHUP"), world.known());
    expect(outcome.message).toBe("SIGHUP to 0 of 1 copies");
    expect((await ask(live)).release).toBe("1.0.0");
  });

  it("that means the end is refused", async () => {
    await world.running(world.wanted());
    const attempt = world.driver().run(order("SIGKILL"), world.known());
    await expect(attempt).rejects.toMatchObject({ reason: "SIGNAL_REFUSED" });
  });
});

describe("a program that crashes", () => {
  it("is started again with its exits counted, each time later", async () => {
    const wanted = world.wanted({
      with: { env: { MODE: "crash" }, restart: { baseMs: 40, capMs: 200 } },
    });
    const waits: number[] = [];
    await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
    for (let restarts = 0; restarts < 4; restarts++) {
      const live = await eventually(`exit number ${restarts}`, async () =>
        (await world.observe()).find(
          (each) => each.phase === "exited" && each.restarts === restarts,
        ),
      );
      const steps = world.driver().steps([live], wanted, wanted, live.exitedAt ?? 0);
      waits.push((steps[0]?.notBefore ?? 0) - (live.exitedAt ?? 0));
      await world.carryOut(steps, wanted);
      expect(await world.observe()).toHaveLength(1);
    }
    expect(waits).toEqual([40, 80, 160, 200]);
  });

  it("has ended as the kernel says, though /proc shows that it has before the event comes", async () => {
    const live = await world.running(world.wanted());
    const { pid } = await ask(live);
    process.kill(pid, "SIGKILL");
    // No turn of the event loop between, so that the event cannot have come.
    while (readProcess("/proc", pid)?.ended === false);
    const [ended] = await world.observe();
    expect(ended?.message).toMatch(/^killed by SIGKILL/);
  });

  it("rings for its instance when it ends", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "crash" } } });
    await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
    expect(await eventually("the ring", () => world.changed[0])).toBe(INSTANCE);
  });
});

describe("the logs", () => {
  it("are few per resource, and those in use are never removed", () => {
    const { logs } = world.context.directories(INSTANCE);
    const handle = (number: number) => `worker-1.1-abc-${number}r0`;
    for (let number = 0; number < LOG_FILES_MAX + 5; number++) {
      openLog(logs, "worker", { handle: handle(number), kept: [handle(0)] }).close();
    }
    const names = Array.from({ length: LOG_FILES_MAX + 5 }, (_, number) => number);
    const left = names.filter((number) => existsSync(join(logs, `${handle(number)}.log`)));
    expect(left).toContain(0);
    expect(left.length).toBeLessThanOrEqual(LOG_FILES_MAX + 1);
  });

  it("are moved to parts while the program goes on writing", async () => {
    const live = await world.running(world.wanted({ with: { env: { MODE: "hup" } } }));
    const path = join(world.context.directories(INSTANCE).logs, `${live.handle}.log`);
    writeFileSync(path, Buffer.alloc(LOG_PART_BYTES, "x\n"), { flag: "a" });
    await world.driver().readings(world.context);
    expect(statSync(path).size).toBeLessThan(200);
    expect(statSync(`${path}.1`).size).toBe(LOG_PART_BYTES);
    process.kill((await ask(live)).pid, "SIGHUP");
    await eventually(
      "it writes to the same file",
      async () =>
        (await world.driver().logs(live, 2, world.context)).includes("told by SIGHUP") || undefined,
    );
  });
});

describe("a name in a journal or an environment", () => {
  it.each(["..", "../x", "a/b", "", "A", "a..b", "/etc", "x".repeat(300)])(
    "never leads elsewhere: %j",
    (name) => {
      expect(isHandle(name)).toBe(false);
    },
  );
});

async function stop(live: Live, wanted = world.wanted()) {
  const steps = world.driver().steps([live], wanted, undefined, world.context.clock.now());
  return await world.carryOut(steps, wanted);
}
