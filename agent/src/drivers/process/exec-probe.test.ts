/** Probes by a program of the artefact: what they get, how they are judged, and that nothing of them stays. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Health, JsonObject, Live } from "../driver.ts";
import { readProcesses } from "../host-process/proc.ts";
import { createWorld, eventually, INSTANCE, portOf, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const data = () => world.context.directories(INSTANCE).data;
const check = (how: string, more: JsonObject = {}) => ({
  exec: { argv: ["node", "check.mjs", how] },
  timeoutMs: 4_000,
  ...more,
});
const asked = () =>
  existsSync(join(data(), "asked"))
    ? (readFileSync(join(data(), "asked"), "utf8").match(/^\d+$(?=\n)/gm) ?? []).map(Number)
    : [];

/** Judges a copy that is ready by the usual probe with another one. */
async function judged(readiness: JsonObject, more: JsonObject = {}): Promise<[Health, Live]> {
  const live = await world.running(world.wanted({ with: more }));
  const wanted = world.wanted({ with: { ...more, readiness } });
  return [await world.driver().health(live, wanted, world.context), live];
}

describe("a probe by a program", () => {
  it("says yes with status 0, and runs as the process itself does", async () => {
    const [health, live] = await judged(check("env"), { umask: "027" });
    const run = join(world.context.directories(INSTANCE).run, live.handle);
    const said = JSON.stringify({ port: String(portOf(live)), cwd: run, umask: 0o027 });
    const message = `exec node check.mjs: status 0: ${said}`;
    expect(health).toEqual({ state: "ready", alive: true, message });
  });

  it("says no with any other status and its last line, escaped", async () => {
    const [health] = await judged(check("no"));
    const message = "exec node check.mjs: status 7: not yet\\u001b[31m";
    expect(health).toEqual({ state: "starting", alive: true, message });
  });

  it("does not show secrets", async () => {
    const secrets = new Map([["dsn", "hunter2-hunter2"]]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the syntax of expressions
    const more = { secretFiles: { dsn: "${secrets.dsn}" } };
    const wanted = world.wanted({ secrets, with: more });
    const live = await world.running(wanted);
    const probing = { ...wanted, spec: { ...wanted.spec, readiness: check("leaky") } };
    const health = await world.driver().health(live, probing, world.context);
    expect(health.message).toBe("exec node check.mjs: status 1: [redacted]");
  });

  it("is not held up by what it prints, and little of that is kept", async () => {
    const [health] = await judged(check("flood"));
    expect(health.message).toMatch(/^exec node check\.mjs: status 1: x{200}…$/);
  });

  it.each(["hang", "leave"])("that would %s is ended with all that it started", async (how) => {
    const [health] = await judged(check(how, { timeoutMs: 700 }));
    if (how === "hang") {
      expect(health.message).toBe("exec node check.mjs: no end within 700 ms; killed");
    } else expect(health.state).toBe("ready");
    const [pid] = asked();
    await eventually("its group is gone", async () => {
      const left = (await readProcesses("/proc")).filter(
        ({ group, ended }) => group === pid && !ended,
      );
      return left.length === 0 || undefined;
    });
  });

  it("cannot be a program of the host", async () => {
    const readiness = { exec: { argv: ["bin/missing"] } };
    const wanted = world.wanted({ with: { readiness } });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "PROGRAM_PATH",
    });
    const [health] = await judged(readiness);
    expect(health).toMatchObject({
      state: "starting",
      message: expect.stringContaining("bin/missing"),
    });
  });

  it.each([
    { what: "a shell of the host", exec: { argv: ["/bin/sh", "-c", "id"] } },
    { what: "a shell of the release", exec: { argv: ["bin/sh", "-c", "id"] } },
    { what: "a command as text", exec: { argv: "test -f ready" } },
  ])("that is $what is refused before a start", async ({ exec }) => {
    const wanted = world.wanted({ with: { readiness: { exec } } });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "SPEC_INVALID",
    });
  });

  it("is asked once an interval, and its answer stands in between", async () => {
    const readiness = check("file", { intervalMs: 60_000 });
    const [first, live] = await judged(readiness);
    const wanted = world.wanted({ with: { readiness } });
    const again = await world.driver().health(live, wanted, world.context);
    expect(again).toEqual(first);
    expect(asked()).toHaveLength(1);
  });

  it("asks for a restart as a liveness probe that fails as often as allowed", async () => {
    const liveness = check("file", { failures: 2, intervalMs: 500, timeoutMs: 500 });
    const wanted = world.wanted({ with: { liveness } });
    const live = await world.running(wanted);
    writeFileSync(join(data(), "sick"), "");
    const health = await eventually("it is not alive", async () => {
      const found = await world.driver().health(live, wanted, world.context);
      return found.alive ? undefined : found;
    });
    expect(health.message).toContain("failed its liveness probe 2 times in a row");
    const steps = world.driver().steps(await world.observe(), wanted, wanted, 0);
    expect(steps).toMatchObject([{ verb: "stop" }]);
  });

  it("is never taken for the process itself", async () => {
    const wanted = world.wanted({ with: { readiness: check("hang", { timeoutMs: 1_500 }) } });
    const live = await world.running(world.wanted());
    const asking = world.driver().health(live, wanted, world.context);
    await eventually("it runs", () => asked()[0]);
    const [seen] = await world.observe();
    expect(seen?.message).toBe(live.message);
    await asking;
  });
});
