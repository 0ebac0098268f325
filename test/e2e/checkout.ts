/**
 * A folder that looks like the checkout to whoever types commands in it, with a fleet of its own: one that runs in this
 * checkout already is left alone.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

export const ROOT = join(import.meta.dirname, "../..");
const COMMAND_MS_MAX = 180_000;
const NAMES = [
  ...[".toolchain", "examples", "holdfast", "holdfast-agent", "holdfast-hub"],
  ...["node_modules", "package.json", "scripts"],
];
const LAST_LINE = "npm run reset forgets it all.";

export type Running = Readonly<{
  output: () => string;
  ended: Promise<number>;
  interrupt: () => void;
}>;

export class Checkout {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-transcript-"));
  #fleet: Running | undefined;
  readonly #env: Readonly<Record<string, string>>;
  readonly #prefix: readonly string[];

  /** `prefix`: words before each command, such as those that enter a network namespace. */
  constructor(env: Readonly<Record<string, string>> = {}, prefix: readonly string[] = []) {
    this.#env = env;
    this.#prefix = prefix;
    for (const name of NAMES) symlinkSync(join(ROOT, name), join(this.folder, name));
  }

  /** As in a terminal: a session of its own, whose Ctrl-C reaches everything in it. */
  start(command: string): Running {
    const home = { HOLDFAST_HOME: join(this.folder, ".holdfast"), NO_COLOR: "1" };
    const env = { ...process.env, ...home, ...this.#env };
    const [program = "", ...args] = [...this.#prefix, "sh", "-c", command];
    const child = spawn(program, args, { cwd: this.folder, env, detached: true });
    let output = "";
    const take = (chunk: Buffer) => {
      output += chunk.toString("utf8");
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const ended = new Promise<number>((resolve) =>
      child.on("close", (code) => resolve(code ?? -1)),
    );
    const interrupt = () => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    };
    return { output: () => output, ended, interrupt };
  }

  /** All that a command prints. `npm start` goes on; it counts as done when the fleet is up. */
  async run(command: string): Promise<string> {
    const running = this.start(command);
    if (command !== "npm start") {
      await running.ended;
      return running.output();
    }
    this.#fleet = running;
    const isUp = () => running.output().includes(LAST_LINE);
    const ended = running.ended.then((code) => `ended with ${code}: ${running.output()}`);
    await Promise.race([until("the fleet runs", isUp, COMMAND_MS_MAX), ended]);
    return running.output();
  }

  /** Ctrl-C where the fleet was started; what it printed until it had ended. Undefined if none runs. */
  async endFleet(): Promise<string | undefined> {
    const fleet = this.#fleet;
    this.#fleet = undefined;
    fleet?.interrupt();
    await fleet?.ended;
    return fleet?.output();
  }

  /** Processes of this checkout's fleet that are still there. */
  left(): readonly string[] {
    return readdirSync("/proc").filter((pid) => commandLineOf(pid).includes(this.folder));
  }

  async remove(): Promise<void> {
    await this.endFleet();
    await this.start("npm run reset").ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
