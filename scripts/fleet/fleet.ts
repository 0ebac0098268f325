/**
 * A hub, agents and the example product on this machine, driven only through the programs that ship: what
 * works here works for everybody who types the same commands.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Layout } from "./layout.ts";
import { freePorts } from "./ports.ts";
import { end, launch, type ProcessRecord, running } from "./processes.ts";

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const POLL_MS = 50;

/** Settings of somebody else's hub or agent: this fleet has its own database, state and contexts. Not how much is logged. */
const FOREIGN =
  /^(HOLDFAST_(HUB|AGENT)_(?!LOG_LEVEL$)|HOLDFAST_CONTEXT|(OWNER_|KEY_|LISTEN_)?DATABASE_URL$)/;

export type CommandResult = Readonly<{ code: number; stdout: string; stderr: string }>;

export class Fleet {
  readonly layout: Layout;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #agentPrefix: (name: string) => readonly string[];
  readonly #ending = new AbortController();

  /** `agentPrefix` is put before an agent's command, such as the words that enter a network namespace. */
  constructor(
    layout: Layout,
    env: Readonly<Record<string, string | undefined>>,
    agentPrefix: (name: string) => readonly string[] = () => [],
  ) {
    this.layout = layout;
    this.#agentPrefix = agentPrefix;
    const kept = Object.entries(env).filter(([name]) => !FOREIGN.test(name));
    this.#env = { ...Object.fromEntries(kept), HOLDFAST_CONTEXT_FILE: layout.context };
    mkdirSync(layout.home, { recursive: true, mode: 0o700 });
    for (const folder of ["agents", "logs", "manifests", "processes", "sources", "tokens"]) {
      mkdirSync(join(layout.home, folder), { recursive: true, mode: 0o700 });
    }
  }

  /**
   * From now on nothing is launched, and commands that run are ended: what is still being set up must not start,
   * or wait for a hub, behind the back of the one that ends all.
   */
  abandonSetUp(): void {
    this.#ending.abort();
  }

  /** Keeps the ports of the first time. */
  async writeHubConfig(portsFrom: number): Promise<void> {
    const { hub } = this.layout;
    if (existsSync(hub.config)) return;
    const [api, link, identity] = await freePorts(portsFrom, 3);
    writeFileSync(
      hub.config,
      [
        "# The local fleet's hub.",
        `data_dir: ${JSON.stringify(hub.data)}`,
        `api_listen: 127.0.0.1:${api}`,
        `link_listen: 127.0.0.1:${link}`,
        `identity_listen: 127.0.0.1:${identity}`,
        "vendor: nimbus",
        `owner_token_file: ${JSON.stringify(hub.ownerToken)}`,
        "",
      ].join("\n"),
    );
  }

  async startHub(): Promise<ProcessRecord> {
    const { hub, processes } = this.layout;
    const known = running(processes, "hub");
    if (known !== undefined) return known;
    const args = ["serve", "--config", hub.config];
    const started = this.#launch("hub", this.#program("holdfast-hub"), hub.log, args);
    await this.#until("the hub", hub.log, started, async () => {
      const said = this.endpoints();
      return said?.pid === started.pid && (await answers(`http://${said.api}/readyz`));
    });
    return started;
  }

  stopHub(signal: NodeJS.Signals = "SIGTERM"): Promise<boolean> {
    return end(this.layout.processes, "hub", signal, STOP_MS_MAX);
  }

  /** Where the running hub listens, as it said itself. */
  endpoints(): Readonly<{ api: string; pid: number }> | undefined {
    try {
      return JSON.parse(readFileSync(this.layout.hub.endpoints, "utf8"));
    } catch {
      return undefined;
    }
  }

  /** `joinToken` is called for a token when the agent has no identity yet. */
  async startAgent(
    name: string,
    settings: Readonly<Record<string, string | number>>,
    joinToken: () => Promise<string>,
  ): Promise<ProcessRecord> {
    const agent = this.layout.agent(name);
    const known = running(this.layout.processes, `agent-${name}`);
    if (known !== undefined) return known;
    const lines = Object.entries({ state_dir: agent.state, ...settings });
    writeFileSync(
      agent.config,
      `# Agent of the local fleet.\n${lines.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join("\n")}\n`,
    );
    if (!existsSync(join(agent.state, "agent.db"))) {
      writeFileSync(agent.token, await joinToken(), { mode: 0o600 });
      await this.agent("enroll", "--state", agent.state, "--token-file", agent.token);
      rmSync(agent.token);
    }
    const words = [this.#program("holdfast-agent"), "run", "--config", agent.config];
    const [command = "", ...args] = [...this.#agentPrefix(name), ...words];
    return this.#launch(`agent-${name}`, command, agent.log, args);
  }

  stopAgent(name: string, signal: NodeJS.Signals = "SIGTERM"): Promise<boolean> {
    return end(this.layout.processes, `agent-${name}`, signal, STOP_MS_MAX);
  }

  /** Ends the agent and its workloads; what they wrote stays. */
  async haltAgent(name: string): Promise<void> {
    await this.stopAgent(name);
    const { state, config } = this.layout.agent(name);
    if (!existsSync(join(state, "agent.db"))) return;
    // With all that it was started with, such as the engine that its containers run in.
    const args = ["halt", "--all", "--config", config];
    checked("holdfast-agent", args, await this.#run("holdfast-agent", args));
  }

  /** A database that goes on getting rows. */
  startSource(name: string, accounts: readonly string[], rows: number): void {
    const { file, log } = this.layout.source(name);
    if (running(this.layout.processes, `source-${name}`) !== undefined) return;
    const seed = join(this.layout.root, "examples/etl/src/seed.ts");
    this.#launch(`source-${name}`, process.execPath, log, [
      seed,
      ...["--file", file, "--accounts", accounts.join(","), "--rows", String(rows)],
      ...["--every-ms", "500", "--batch", "5"],
    ]);
  }

  stopSource(name: string): Promise<boolean> {
    return end(this.layout.processes, `source-${name}`, "SIGTERM", STOP_MS_MAX);
  }

  /** Runs `holdfast`; throws with what it said unless it ends with 0. */
  async cli(args: readonly string[], input = ""): Promise<string> {
    return checked("holdfast", args, await this.tryCli(args, input));
  }

  tryCli(args: readonly string[], input = ""): Promise<CommandResult> {
    return this.#runUntilEnd("holdfast", args, input);
  }

  async agent(...args: readonly string[]): Promise<string> {
    return checked("holdfast-agent", args, await this.#runUntilEnd("holdfast-agent", args));
  }

  #runUntilEnd(program: "holdfast" | "holdfast-agent", args: readonly string[], input = "") {
    return this.#run(program, args, { input, signal: this.#ending.signal });
  }

  #run(
    program: "holdfast" | "holdfast-agent",
    args: readonly string[],
    { input = "", ...bounds }: Readonly<{ input?: string; signal?: AbortSignal }> = {},
  ): Promise<CommandResult> {
    const cwd = this.layout.home;
    return new Promise((resolve) => {
      const child = execFile(
        this.#program(program),
        args,
        { cwd, env: this.#env, maxBuffer: OUTPUT_BYTES_MAX, ...bounds },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
          resolve({ code, stdout, stderr });
        },
      );
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
    });
  }

  #program(name: "holdfast" | "holdfast-hub" | "holdfast-agent"): string {
    return join(this.layout.root, name);
  }

  #launch(name: string, command: string, log: string, args: readonly string[]): ProcessRecord {
    if (this.#ending.signal.aborted) throw new Error(`${name} is not started: the fleet is ending`);
    const { processes, home } = this.layout;
    return launch(processes, { name, command, args, cwd: home, log, env: this.#env });
  }

  async #until(
    what: string,
    log: string,
    started: ProcessRecord,
    done: () => Promise<boolean>,
  ): Promise<void> {
    for (const until = performance.now() + START_MS_MAX; performance.now() < until; ) {
      if (await done()) return;
      if (running(this.layout.processes, "hub")?.pid !== started.pid) {
        throw new Error(`${what} ended while starting; the last lines of ${log}:\n${tail(log)}`);
      }
      await sleep(POLL_MS);
    }
    throw new Error(`${what} did not start within ${START_MS_MAX} ms; see ${log}`);
  }
}

function checked(program: string, args: readonly string[], result: CommandResult): string {
  if (result.code === 0) return result.stdout;
  throw new Error(`${program} ${args.join(" ")} ended with ${result.code}:\n${result.stderr}`);
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}

function tail(file: string): string {
  try {
    return readFileSync(file, "utf8").trimEnd().split("\n").slice(-10).join("\n");
  } catch {
    return "";
  }
}
