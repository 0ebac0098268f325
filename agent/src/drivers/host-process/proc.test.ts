/** Reading /proc: names that imitate its format, and what is missing. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  bootId,
  describeProcess,
  ephemeralPortMin,
  listenerOf,
  listensOn,
  readMarks,
  readProcess,
  readProcesses,
  uptimeMs,
} from "./proc.ts";

let procDir: string;
beforeEach(() => {
  procDir = mkdtempSync(join(tmpdir(), "holdfast-proc-"));
});
afterEach(() => rmSync(procDir, { recursive: true }));

function put(pid: number, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(procDir, String(pid)), { recursive: true });
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(procDir, String(pid), name), text);
}

const rest = "1 42 42 0 -1 4194560 1 2 0 0 10 20 3 4 20 0 1 0 777 1000 10";

describe("a made-up /proc", () => {
  it.each(["node", "a b", ") R 9 9 9", "((", "(x) Z 1"])("reads the process named %j", (name) => {
    put(42, { stat: `42 (${name}) S ${rest}\n` });
    expect(readProcess(procDir, 42)).toEqual({
      ...{ pid: 42, parent: 1, group: 42, session: 42 },
      ...{ ended: false, startTicks: 777, ownTicks: 30, childTicks: 7 },
    });
  });

  it("takes a process whose first thread alone has left for a running one", () => {
    put(9, { stat: `9 (z) Z ${rest.replace("20 0 1 0 777", "20 0 3 0 777")}\n` });
    expect(readProcess(procDir, 9)).toMatchObject({ ended: false, startTicks: 777 });
  });

  it("takes zombies for ended and skips what makes no sense", async () => {
    put(1, { stat: `1 (z) Z ${rest}\n` });
    put(2, { stat: "2 (torn) S 1" });
    put(3, {});
    put(4, { stat: `4 (n) S ${rest.replace("777", "many")}\n` });
    mkdirSync(join(procDir, "net"));
    const found = await readProcesses(procDir);
    expect(found.map(({ pid, ended }) => ({ pid, ended }))).toEqual([{ pid: 1, ended: true }]);
  });

  it("reads our marks alone from an environment, and none where it is closed", () => {
    put(5, { environ: "HOME=/root\0HOLDFAST_COPY=a=b\0XHOLDFAST_COPY=c\0HOLDFAST_X\0" });
    expect([...(readMarks(procDir, 5) ?? [])]).toEqual([["HOLDFAST_COPY", "a=b"]]);
    put(6, { environ: "HOME=/root\0" });
    expect(readMarks(procDir, 6)).toBeUndefined();
    expect(readMarks(procDir, 7)).toBeUndefined();
  });

  it("reads no more of an environment than its beginning", () => {
    put(8, { environ: `HOLDFAST_COPY=a\0BIG=${"x".repeat(1_000_000)}\0HOLDFAST_LATE=1\0` });
    expect([...(readMarks(procDir, 8) ?? new Map()).keys()]).toEqual(["HOLDFAST_COPY"]);
  });
});

describe("the real /proc", () => {
  it("knows this process, its boot and its age", async () => {
    const own = readProcess("/proc", process.pid);
    expect(own).toMatchObject({ pid: process.pid, parent: process.ppid, ended: false });
    expect(bootId("/proc")).toMatch(/^[0-9a-f-]{36}$/);
    expect(uptimeMs("/proc")).toBeGreaterThan((own?.startTicks ?? 0) * 10);
    expect(ephemeralPortMin("/proc")).toBeGreaterThan(1_024);
    expect(await readProcesses("/proc")).toContainEqual(
      expect.objectContaining({ pid: process.pid }),
    );
  });

  it.each(["127.0.0.1", "::"])("finds who listens on %s", async (host) => {
    const server = createServer().listen(0, host);
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as { port: number };
      expect(await listenerOf("/proc", port)).toBe(process.pid);
      expect(listensOn("/proc", process.pid, port)).toBe(true);
      expect(listensOn("/proc", process.ppid, port)).toBe(false);
      expect(describeProcess("/proc", process.pid)).toMatch(/^pid \d+ \(.+\)$/);
    } finally {
      server.close();
    }
  });
});
