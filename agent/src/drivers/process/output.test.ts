/** Foreign output before people: bounded, escaped, counted where it was dropped. Real programs, a real small disk. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Live } from "../driver.ts";
import { droppedIn, tendLogs } from "../logs.ts";
import { LINE_CHARS_MAX, MESSAGE_LINE_CHARS_MAX } from "../output.ts";
import { LOG_CUT_BYTES, LOG_PART_BYTES, LOG_PARTS_MAX } from "../retention.ts";
import { ask, createWorld, eventually, INSTANCE, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const folders = () => world.context.directories(INSTANCE);
const logOf = (live: Live) => join(folders().logs, `${live.handle}.log`);
const fill = (live: Live, bytes: number) =>
  writeFileSync(logOf(live), Buffer.alloc(bytes, "0123456789abcde\n"), { flag: "a" });
const tend = (live: Live) => tendLogs(folders(), live.handle, world.context);

describe("a program that prints ANSI, OSC-52, binary and a line of 10 MiB", () => {
  it("is told by its status and text that no terminal obeys", async () => {
    const wanted = world.wanted({ with: { env: { MODE: "garbage" } } });
    await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
    const live = await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    expect(live.message).toMatch(/^exited with status 4: /);
    expect(live.message.length).toBeLessThan(1_000);
    const lines = await world.driver().logs(live, 100, world.context);
    expect(lines.at(-1)).toBe("last");
    for (const text of [live.message, ...lines]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
      expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      expect(text.length).toBeLessThanOrEqual(LINE_CHARS_MAX + 1_000);
    }
    const { message } = await world.driver().health(live, wanted, world.context);
    expect(message).toBe(live.message);
  });

  it("has its lines cut with a mark", async () => {
    const live = await world.running(world.wanted());
    writeFileSync(logOf(live), `\u001b]52;c;aGk=\u0007${"y".repeat(5_000)}\n\u001b[2Jend\n`);
    const [long, short] = await world.driver().logs(live, 2, world.context);
    expect(long).toMatch(/^\\u001b\]52;c;aGk=\\u0007y+… \[cut\]$/);
    expect(long).toHaveLength(LINE_CHARS_MAX + "… [cut]".length);
    expect(short).toBe("\\u001b[2Jend");
    process.kill((await ask(live)).pid, "SIGKILL");
    const exited = await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    const cut = `y{${MESSAGE_LINE_CHARS_MAX - 22}}… \\[cut\\]`;
    expect(exited.message).toMatch(
      new RegExp(`^killed by SIGKILL: \\\\u001b\\]52;c;aGk=\\\\u0007${cut} \\| \\\\u001b\\[2Jend$`),
    );
  });
});

describe("a log that grows", () => {
  it("is moved to parts, of which the oldest go and are counted", async () => {
    const live = await world.running(world.wanted());
    for (let n = 0; n < LOG_PARTS_MAX + 3; n++) {
      fill(live, LOG_PART_BYTES + 16);
      tend(live);
    }
    const parts = readdirSync(folders().logs).filter((name) =>
      name.startsWith(`${live.handle}.log.`),
    );
    expect(parts).toHaveLength(LOG_PARTS_MAX);
    expect(statSync(logOf(live)).size).toBeLessThan(200);
    const dropped = droppedIn(folders().logs);
    expect(dropped).toMatchObject({ files: 3, isPressed: false });
    expect(dropped.bytes).toBeGreaterThan(3 * LOG_PART_BYTES);
    const lines = await world.driver().logs(live, 3, world.context);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe("0123456789abcde");
  });

  it("keeps the end of what came between two looks, and says in the log what is missing", async () => {
    const live = await world.running(world.wanted());
    const before = statSync(logOf(live)).size;
    fill(live, 3 * LOG_PART_BYTES);
    tend(live);
    const lost = before + 2 * LOG_PART_BYTES;
    expect(readFileSync(logOf(live), "utf8")).toBe(
      `[holdfast: ${lost} bytes of output dropped here]\n`,
    );
    expect(droppedIn(folders().logs)).toMatchObject({ bytes: lost, files: 0 });
  });

  it("does not stop a program that writes while the log is moved", async () => {
    const live = await world.running(world.wanted({ with: { env: { MODE: "hup" } } }));
    const { pid } = await ask(live);
    for (let n = 0; n < 3; n++) {
      fill(live, LOG_PART_BYTES + 16);
      tend(live);
      process.kill(pid, "SIGHUP");
      await eventually("it writes to the same file", async () => {
        return readFileSync(logOf(live), "utf8").includes("told by SIGHUP") || undefined;
      });
    }
  });
});

describe("a disk that is nearly full", () => {
  /** Writes until nothing goes any more. */
  function full(write: () => void): void {
    expect(write).toThrow("ENOSPC");
  }

  /** 32 MiB of its own where this host allows to mount; undefined elsewhere. */
  function mountSmall(): (() => void) | undefined {
    const { logs } = folders();
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=32m", "holdfast-test", logs], {
        stdio: "ignore",
      });
    } catch {
      return undefined;
    }
    return () => execFileSync("umount", ["-l", logs]);
  }

  it("costs the oldest output, then the log's own beginning, never the program, and is said", async () => {
    const unmount = mountSmall();
    try {
      const wanted = world.wanted({ with: { env: { MODE: "hup" } } });
      const live = await world.running(wanted);
      if (unmount === undefined) {
        // Nothing to fill: at least the figures of this disk are read, and nothing is dropped.
        tend(live);
        expect(droppedIn(folders().logs).bytes).toBe(0);
        return;
      }
      const old = join(folders().logs, "worker-1.1-abc-9r0.log");
      writeFileSync(old, Buffer.alloc(8 << 20));
      writeFileSync(join(folders().logs, "other.bin"), Buffer.alloc(20 << 20));
      full(() => fill(live, 8 << 20));
      const own = statSync(logOf(live)).size;
      const caveat = "the disk is nearly full: old output is dropped early";
      const health = () => world.driver().health(live, wanted, world.context);
      expect(await health()).toMatchObject({ state: "ready", caveat });
      expect(existsSync(old)).toBe(false);
      expect(statSync(logOf(live)).size).toBe(own);
      full(() => writeFileSync(join(folders().logs, "more.bin"), Buffer.alloc(20 << 20)));
      expect(await health()).toMatchObject({ state: "ready", caveat });
      expect(statSync(logOf(live)).size).toBeLessThanOrEqual(LOG_CUT_BYTES + 200);
      expect(droppedIn(folders().logs)).toMatchObject({ files: 1, isPressed: true });
      process.kill((await ask(live)).pid, "SIGHUP");
      await eventually(
        "it still writes",
        async () =>
          (await world.driver().logs(live, 1, world.context)).some((line) =>
            line.endsWith("told by SIGHUP"),
          ) || undefined,
      );
      expect((await health()).caveat).toBeUndefined();
    } finally {
      unmount?.();
    }
  });
});
