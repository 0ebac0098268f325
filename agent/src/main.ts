/** The program `holdfast-agent`: reads arguments, files and environment, and is the only file that uses `process`. */
import * as fs from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { parseYaml, YAML_BYTES_MAX } from "@holdfast/shared/yaml.ts";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { pino } from "pino";
import { AGENT_ENV_CONFIG, type AgentConfig, readConfig } from "./config.ts";
import { markedDirectories } from "./drivers/host-process/marked.ts";
import { bootId, readProcess } from "./drivers/host-process/proc.ts";
import {
  allowRemovalHere,
  destroyHere,
  type Output,
  readReport,
  shownKept,
  shownStatus,
  shownWhy,
  workplaceAt,
} from "./local/commands.ts";
import { instanceDirectories } from "./local/directories.ts";
import { exitCodeOf, failureText } from "./local/failure.ts";
import { type HaltWish, haltWorkloads } from "./local/halt.ts";
import { enrollInto } from "./local/joining.ts";
import { type OutputWish, shownOutput } from "./local/output.ts";
import type { AgentHost } from "./run.ts";

const PROC = "/proc";
const ACCOUNTS_FILE = "/etc/passwd";
const TOKEN_BYTES_MAX = 8_192;
/** Fields that must never reach a log, wherever they stand. */
const REDACTED = [
  "token",
  "secret",
  "secrets",
  "tlsKey",
  "identitySeed",
  "password",
  "authorization",
];

type Where = Readonly<{ config?: string; state?: string }>;

async function main(args: readonly string[]): Promise<number> {
  const result = { code: 0 };
  const program = new Command("holdfast-agent")
    .description("Runs what the vendor signed and the customer allows in this cell.")
    .version(shownVersion())
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .showHelpAfterError(false);
  const located = (command: Command) =>
    command
      .option("--config <file>", "configuration file (YAML)")
      .option("--state <dir>", "state directory, instead of a configuration file");
  const printed = (command: Command) =>
    located(command).addOption(
      new Option("-o, --output <form>", "text or json").choices(["text", "json"]).default("text"),
    );
  located(program.command("enroll").description("join a cell with a one-time token"))
    .requiredOption("--token-file <file>", "file with the token, - for standard input")
    .option("--takeover", "take the place of the cell's present agent; workloads go on", false)
    .option("--from <dir>", "its state directory, where no workload runs that shows it")
    .action(async (options: Where & EnrollOptions) => {
      await enroll(configOf(options), options);
    });
  located(program.command("run").description("run until SIGTERM; workloads outlive it")).action(
    async (options: Where) => await run(configOf(options)),
  );
  printed(program.command("status").description("what runs here, hub or no hub")).action(
    async (options: Where & { output: Output }) => {
      process.stdout.write(shownStatus(await reportOf(options), options.output));
    },
  );
  printed(
    program.command("why").argument("<instance>", "name or id").description("why is it as it is"),
  ).action(async (instance: string, options: Where & { output: Output }) => {
    process.stdout.write(shownWhy(await reportOf(options), instance, options.output));
  });
  printed(
    program.command("output").argument("<instance>", "name or id").description("what steps said"),
  )
    .option("--attempt <id>", "one of the last five (default: the newest)", attemptId, 0)
    .option("--step <id>", "a step such as worker/start, or a resource", "")
    .option("--last-action", "of the last restart or run of a job", false)
    .action(async (instance: string, options: Where & OutputWish & { output: Output }) => {
      const { stateDir } = configOf(options);
      const report = await reportOf(options);
      const shown = await shownOutput(stateDir, report, instance, options, options.output);
      process.stdout.write(shown);
    });
  located(program.command("halt").description("end all workloads of an agent that does not run"))
    .option("--all", "also runs of jobs that nothing takes back", false)
    .action(async (options: Where & HaltWish) => await halt(configOf(options), options));
  addDataCommands(program, located, printed);
  addAllowCommand(program, located);
  addFlightCommands(program, located, result);
  program
    .command("version")
    .description("version of this program")
    .action(() => void process.stdout.write(`${shownVersion()}\n`));
  try {
    await program.parseAsync([...args], { from: "user" });
    return result.code;
  } catch (error) {
    const isHelp = error instanceof CommanderError && error.exitCode === 0;
    if (isHelp) return 0;
    const fault = error instanceof CommanderError ? usage(error) : asFault(error, "it failed");
    if (fault.code === "INTERNAL") process.stderr.write(`cause: ${causeChain(error)}\n`);
    process.stderr.write(failureText(fault));
    return exitCodeOf(fault);
  }
}

function attemptId(value: string): number {
  if (/^[1-9]\d{0,14}$/.test(value)) return Number(value);
  throw new InvalidArgumentError("Allowed: the id of an attempt, a whole number from 1 on.");
}

function addDataCommands(
  program: Command,
  located: (command: Command) => Command,
  printed: (command: Command) => Command,
): void {
  printed(
    program.command("kept").description("data of instances and resources that are no more"),
  ).action(async (options: Where & { output: Output }) => {
    process.stdout.write(shownKept(await reportOf(options), options.output));
  });
  located(program.command("destroy").description("destroy data that is kept, for ever"))
    .argument("<instance>", "name or id")
    .argument("[name]", "as kept shows it; without it all that is kept of the instance")
    .option("--yes", "do not ask", false)
    .action(
      async (instance: string, name: string | undefined, options: Where & { yes: boolean }) => {
        const wish = { instance, name: name ?? "", isConfirmed: options.yes };
        const report = await reportOf(options);
        process.stdout.write(
          await destroyHere(configOf(options).stateDir, report, wish, askPerson),
        );
      },
    );
}

function addAllowCommand(program: Command, located: (command: Command) => Command): void {
  located(program.command("allow-removal").description("let more with data go than the budget"))
    .argument("<instance>", "name or id, at the generation that is wanted now")
    .action(async (instance: string, options: Where) => {
      const { stateDir } = configOf(options);
      process.stdout.write(await allowRemovalHere(stateDir, await reportOf(options), instance));
    });
}

/** Undefined where nobody sits before it. */
async function askPerson(text: string): Promise<string | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  const { createInterface } = await import("node:readline/promises");
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(text);
  } finally {
    lines.close();
  }
}

function addFlightCommands(
  program: Command,
  located: (command: Command) => Command,
  result: { code: number },
): void {
  located(program.command("record").description("copy the flight recorder's files to a new file"))
    .requiredOption("--out <file>", "a file that is not there yet")
    .action(async (options: Where & { out: string }) => {
      const { takeFlight } = await import("@holdfast/shared/flight/commands.ts");
      const { AGENT_FLIGHT } = await import("./flight.ts");
      const { stateDir } = configOf(options);
      process.stdout.write(`${takeFlight(fs, AGENT_FLIGHT, stateDir, options.out)}\n`);
    });
  program
    .command("replay")
    .argument("<file>", "as record copies it")
    .description("run a recorded flight again and show it; ends with 10 if a step goes another way")
    .option("--of <id>", "show only the steps of this agent or instance")
    .action(async (file: string, { of }: { of?: string }) => {
      const { replayFile } = await import("@holdfast/shared/flight/commands.ts");
      const { AGENT_FLIGHT } = await import("./flight.ts");
      const print = (line: string) => void process.stdout.write(`${line}\n`);
      result.code = replayFile(fs, AGENT_FLIGHT, { file, of, print });
    });
}

function usage(error: CommanderError): Fault {
  const message = error.message.replace(/^error: /, "");
  return new Fault("INVALID_ARGUMENT", "USAGE", message, { next: "holdfast-agent --help" });
}

/** Throws INVALID_ARGUMENT with every problem of file, environment and options. */
function configOf(where: Where): AgentConfig {
  const fileName = where.config ?? process.env[AGENT_ENV_CONFIG];
  const file = fileName === undefined ? {} : readYaml(fileName);
  const given =
    where.state === undefined || typeof file !== "object" || file === null
      ? file
      : { ...file, state_dir: resolve(where.state) };
  const { values, warnings } = readConfig({
    file: given,
    fileName: fileName ?? "options",
    fileDirectory: fileName === undefined ? process.cwd() : dirname(resolve(fileName)),
    // `--state` is nearer than the environment.
    env:
      where.state === undefined
        ? process.env
        : { ...process.env, HOLDFAST_AGENT_STATE_DIR: undefined },
    workingDirectory: process.cwd(),
  });
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  return values;
}

function readYaml(fileName: string): unknown {
  let text: string;
  try {
    text = readAtMost(fileName, YAML_BYTES_MAX + 1);
  } catch (error) {
    throw unreadable("configuration file", fileName, error);
  }
  return parseYaml(text, fileName);
}

/** The beginning of a file, which may be a pipe or a device without an end. */
function readAtMost(file: string | 0, bytesMax: number): string {
  const descriptor = file === 0 ? file : fs.openSync(file, "r");
  try {
    const bytes = Buffer.alloc(bytesMax);
    let length = 0;
    while (length < bytesMax) {
      const read = fs.readSync(descriptor, bytes, length, bytesMax - length, null);
      if (read === 0) break;
      length += read;
    }
    return bytes.toString("utf8", 0, length);
  } finally {
    if (file !== 0) fs.closeSync(descriptor);
  }
}

function shownVersion(): string {
  return `holdfast-agent ${versionOf()}`;
}

function versionOf(): string {
  const manifest = fs.readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return String((JSON.parse(manifest) as { version: string }).version);
}

function hostOf(): AgentHost {
  return {
    pid: process.pid,
    uid: process.getuid?.() ?? 0,
    startTimeOf,
    random: Math.random,
    process: {
      nodePath: process.execPath,
      kill: (pid, signal) => {
        process.kill(pid, signal);
      },
      umask: (mask) => process.umask(mask),
      procDir: PROC,
      accountsFile: ACCOUNTS_FILE,
    },
    bootId: bootId(PROC),
    platform: `${process.platform}/${process.arch}`,
    version: versionOf(),
    // There where start.sh asked Node for it.
    giveBackMemory: () => void globalThis.gc?.({ type: "major", flavor: "last-resort" }),
    onCrash: (hear) => void process.on("uncaughtExceptionMonitor", hear),
  };
}

function startTimeOf(pid: number): string | undefined {
  const entry = readProcess(PROC, pid);
  return entry === undefined || entry.ended ? undefined : `${bootId(PROC)}/${entry.startTicks}`;
}

type EnrollOptions = Readonly<{ tokenFile: string; takeover: boolean; from?: string }>;

async function enroll(config: AgentConfig, options: EnrollOptions): Promise<void> {
  const { tokenFile, takeover, from } = options;
  if (from !== undefined && !takeover) {
    throw new Fault("INVALID_ARGUMENT", "USAGE", "--from: only together with --takeover");
  }
  const token = readToken(tokenFile);
  // Certificates and gRPC load here only: `status` has to answer at once.
  const { enroll: join } = await import("./enroll.ts");
  const agentVersion = versionOf();
  const signal = endSignal();
  const place = {
    from: from === undefined ? undefined : resolve(from),
    marked: () => markedDirectories(PROC),
  };
  const said = await enrollInto(config.stateDir, hostOf(), systemClock.now(), {
    ...(takeover && { takeover: place }),
    obtain: (cellId) => join({ token, hostName: hostname(), agentVersion, cellId, signal }),
  });
  process.stdout.write(said);
}

function readToken(file: string): string {
  try {
    const text = readAtMost(file === "-" ? 0 : file, TOKEN_BYTES_MAX + 1);
    if (text.length <= TOKEN_BYTES_MAX) return text.trim();
  } catch (error) {
    throw unreadable("token file", file, error);
  }
  throw new Fault("INVALID_ARGUMENT", "TOKEN_DAMAGED", `${file}: too long for a join token`);
}

async function run(config: AgentConfig): Promise<void> {
  const { runAgent } = await import("./run.ts");
  await runAgent(config, hostOf(), logOf(config), endSignal());
}

async function halt(config: AgentConfig, wish: HaltWish): Promise<void> {
  const { programDrivers } = await import("./drivers-here.ts");
  const host = hostOf();
  const drivers = await programDrivers({ host, config, wake: () => undefined });
  const { stateDir } = config;
  const workplace = workplaceAt(stateDir);
  const context = {
    log: logOf(config),
    clock: systemClock,
    random: Math.random,
    signal: endSignal(),
    stateDir: workplace,
    directories: (instanceId: string) => instanceDirectories(workplace, instanceId),
  };
  const said = await haltWorkloads(stateDir, host, drivers, context, wish);
  process.stdout.write(said);
}

async function reportOf(where: Where) {
  const { stateDir } = configOf(where);
  return await readReport(stateDir, { startTimeOf }, versionOf());
}

/** Aborted by the first SIGTERM or SIGINT; further ones change nothing, since ending has a deadline. */
function endSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop.abort());
  return stop.signal;
}

/** Lines of the same form as the hub's. */
function logOf({ logLevel }: AgentConfig): Log {
  const paths = REDACTED.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  const options = {
    level: logLevel,
    base: { program: "holdfast-agent" },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: "[redacted]" },
  };
  return pino(options, pino.destination({ dest: 2, sync: true }));
}

// An exit rather than a natural end: a step that ignores its deadline must not keep the agent here.
process.exit(await main(process.argv.slice(2)));
