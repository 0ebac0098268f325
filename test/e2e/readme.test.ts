/**
 * The README's transcript, command by command, in a folder that looks like a checkout to whoever types them.
 * A fleet of its own: one that runs in this checkout already is left alone.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { commandsOf, masked } from "./transcript.ts";
import { until } from "./until.ts";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "holdfast-readme-"));
const NAMES = [
  ...[".toolchain", "examples", "holdfast", "holdfast-agent", "holdfast-hub"],
  ...["node_modules", "package.json", "scripts"],
];
for (const name of NAMES) symlinkSync(join(root, name), join(folder, name));

const env = { ...process.env, HOLDFAST_HOME: join(folder, ".holdfast"), NO_COLOR: "1" };
const commands = commandsOf(readFileSync(join(root, "README.md"), "utf8"));
const LAST_LINE = "npm run reset forgets it all.";
const COMMAND_MS_MAX = 90_000;

type Running = Readonly<{ output: () => string; ended: Promise<number>; interrupt: () => void }>;

/** As in a terminal: a session of its own, whose Ctrl-C reaches everything in it. */
function start(command: string): Running {
  const child = spawn("sh", ["-c", command], { cwd: folder, env, detached: true });
  let output = "";
  const take = (chunk: Buffer) => {
    output += chunk.toString("utf8");
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const ended = new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? -1)));
  const interrupt = () => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  };
  return { output: () => output, ended, interrupt };
}

let fleet: Running | undefined;

afterAll(async () => {
  if (fleet !== undefined) {
    fleet.interrupt();
    await fleet.ended;
  }
  await start("npm run reset").ended;
  rmSync(folder, { recursive: true, force: true });
}, COMMAND_MS_MAX);

describe("the README's transcript", () => {
  it("begins with the one command that sets everything up", () => {
    expect(commands[0]?.command).toBe("npm start");
    expect(commands.length).toBeGreaterThan(5);
  });

  it.each(commands)(
    "$command",
    async ({ command, output }) => {
      const running = start(command);
      if (command === "npm start") {
        fleet = running;
        const isUp = () => running.output().includes(LAST_LINE);
        const ended = running.ended.then((code) => `ended with ${code}: ${running.output()}`);
        await Promise.race([until("the fleet runs", isUp, COMMAND_MS_MAX), ended]);
      } else {
        await running.ended;
      }
      expect(masked(running.output())).toBe(masked(output));
    },
    COMMAND_MS_MAX + 10_000,
  );

  it(
    "ends in order at Ctrl-C",
    async () => {
      const ending = fleet;
      fleet = undefined;
      ending?.interrupt();
      await ending?.ended;
      expect(ending?.output()).toMatch(/s {2}ended; npm start goes on from here/);
      const left = readdirSync("/proc").filter((pid) => commandLineOf(pid).includes(folder));
      expect(left).toEqual([]);
    },
    COMMAND_MS_MAX,
  );
});

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
