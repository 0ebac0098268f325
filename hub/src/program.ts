/** The command line of holdfast-hub: what there is to run, and how failures look and end. */
import * as fs from "node:fs";
import { dirname, resolve } from "node:path";
import {
  asFault,
  causeChain,
  describeViolation,
  Fault,
  type FaultCode,
} from "@holdfast/shared/fault.ts";
import { replayFile, takeFlight } from "@holdfast/shared/flight/commands.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { escapeControls, shown } from "@holdfast/shared/text.ts";
import { parseYaml, YAML_BYTES_MAX } from "@holdfast/shared/yaml.ts";
import { Command, CommanderError } from "commander";
import { createVendor } from "./app/vendors.ts";
import { type HubConfig, readConfig } from "./config.ts";
import { doctor, doctorText, isNodeNew, NODE_MAJOR_MIN } from "./doctor.ts";
import { HUB_FLIGHT } from "./flight.ts";
import { createLog } from "./log.ts";
import { openHubDatabase, privateCluster } from "./open-database.ts";
import { readKeyFile, wrapperOf } from "./secrets.ts";
import { type ServeHost, serve } from "./serve.ts";
import { migrate, readMigrations } from "./store/migrate.ts";

/** What the program needs of its process. */
export type Process = Omit<ServeHost, "log"> &
  Readonly<{
    env: Readonly<Record<string, string | undefined>>;
    workingDirectory: string;
    /** Of the runtime, such as 24.21.0. */
    nodeVersion: string;
    printError(line: string): void;
    /** Aborted by SIGTERM and SIGINT. */
    stop: AbortSignal;
  }>;

/** Exit codes as all programs of Holdfast have them. */
const EXIT_CODES: Readonly<Partial<Record<FaultCode, number>>> = {
  INVALID_ARGUMENT: 2,
  NOT_FOUND: 3,
  UNAUTHENTICATED: 4,
  PERMISSION_DENIED: 4,
  ALREADY_EXISTS: 5,
  FAILED_PRECONDITION: 5,
  ABORTED: 5,
};

/** Runs the command and gives the exit code. */
export async function run(args: readonly string[], process: Process): Promise<number> {
  const result = { code: 0 };
  const program = commands(process, result);
  try {
    await program.parseAsync(args, { from: "user" });
    return result.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const fault = asFault(error, "it failed for an unexpected reason");
    process.printError(failureText(fault));
    return EXIT_CODES[fault.code] ?? 1;
  }
}

function commands(process: Process, result: { code: number }): Command {
  const program = new Command("holdfast-hub")
    .description("Control plane of Holdfast")
    .version(`holdfast-hub ${process.version}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => process.print(text.trimEnd()),
      writeErr: (text) => process.printError(text.trimEnd()),
    });
  const configured = (command: Command) =>
    command.option("--config <file>", "configuration file (YAML)");
  configured(program.command("serve").description("serve until SIGTERM")).action(
    async (options: Options) => {
      checkRuntime(process);
      const config = await configOf(options, process);
      await serve(config, { ...process, log: createLog(config.logLevel) }, process.stop);
    },
  );
  configured(program.command("migrate").description("bring the database to this schema")).action(
    async (options: Options) => migrateDatabase(await configOf(options, process), process),
  );
  configured(program.command("doctor").description("check whether the hub can serve"))
    .option("-o, --output <format>", "text or json", "text")
    .action(async (options: Options & { output: string }) => {
      checkFormat(options.output);
      const report = await doctor(() => configOf(options, process), process);
      process.print(
        options.output === "json" ? JSON.stringify(report, null, 2) : doctorText(report),
      );
      result.code = report.healthy ? 0 : 1;
    });
  configured(
    program.command("record").description("copy the flight recorder's files to a new file"),
  )
    .requiredOption("--out <file>", "a file that is not there yet")
    .action(async (options: Options & { out: string }) => {
      const { dataDir } = await configOf(options, process);
      process.print(takeFlight(fs, HUB_FLIGHT, dataDir, options.out));
    });
  program
    .command("replay <file>")
    .description("run a recorded flight again and show it; ends with 10 if a step goes another way")
    .option("--of <id>", "show only the steps of this agent")
    .action((file: string, { of }: { of?: string }) => {
      result.code = replayFile(fs, HUB_FLIGHT, { file, of, print: process.print });
    });
  program
    .command("version")
    .description("version of this program")
    .action(() => process.print(`holdfast-hub ${process.version}`));
  const vendor = program.command("vendor").description("vendors that this hub serves");
  configured(vendor.command("create <name>").description("make a vendor and its owner")).action(
    async (name: string, options: Options) =>
      createAnotherVendor(name, await configOf(options, process), process),
  );
  return program;
}

/** Throws FAILED_PRECONDITION `NODE_TOO_OLD`. */
function checkRuntime({ nodeVersion }: Process): void {
  if (isNodeNew(nodeVersion)) return;
  const message = `Node.js ${nodeVersion}; ${NODE_MAJOR_MIN} or newer is needed`;
  throw new Fault("FAILED_PRECONDITION", "NODE_TOO_OLD", message, { next: "upgrade Node.js" });
}

type Options = Readonly<{ config?: string }>;

/** Throws INVALID_ARGUMENT; says what the environment had too much of. */
async function configOf({ config }: Options, process: Process): Promise<HubConfig> {
  const given = config ?? process.env["HOLDFAST_HUB_CONFIG"];
  const path = given === undefined ? undefined : resolve(process.workingDirectory, given);
  const file = path === undefined ? null : parseYaml(await readConfigFile(path), path);
  const { values, warnings } = readConfig({
    file,
    fileName: path ?? "configuration",
    fileDirectory: path === undefined ? process.workingDirectory : dirname(path),
    env: process.env,
    workingDirectory: process.workingDirectory,
  });
  for (const warning of warnings) process.printError(`warning: ${warning}`);
  return values;
}

/** One byte beyond what YAML may have at most, which then refuses it: a pipe or a device has no size to ask for. */
async function readConfigFile(path: string): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of fs.createReadStream(path, { end: YAML_BYTES_MAX }))
      chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  } catch (error) {
    throw unreadable("configuration file", path, error);
  }
}

function checkFormat(format: string): void {
  if (format === "text" || format === "json") return;
  throw new Fault(
    "INVALID_ARGUMENT",
    "OUTPUT_UNKNOWN",
    `-o: got ${shown(format)}; allowed: text, json`,
  );
}

async function migrateDatabase(config: HubConfig, process: Process): Promise<void> {
  const host = { ...process, log: createLog(config.logLevel) };
  const cluster = await privateCluster(config, host, true);
  try {
    const { ownerDatabaseUrl } = config;
    const owner = cluster?.owner ?? (ownerDatabaseUrl && { url: ownerDatabaseUrl });
    if (owner === undefined || owner === "") {
      throw new Fault(
        "INVALID_ARGUMENT",
        "CONFIG_INVALID",
        "owner_database_url: required for migrate beside database_url; it may set the role holdfast_owner",
      );
    }
    const applied = await migrate(owner, await readMigrations());
    for (const name of applied) process.print(`applied ${name}`);
    process.print(applied.length === 0 ? "the schema is up to date" : "migrated");
  } finally {
    await cluster?.stop();
  }
}

async function createAnotherVendor(
  name: string,
  config: HubConfig,
  process: Process,
): Promise<void> {
  const host = { ...process, log: createLog(config.logLevel) };
  const wrapper = wrapperOf(readKeyFile(config.keyFile, false));
  const { database, close } = await openHubDatabase(config, host, true);
  try {
    let token = "";
    await createVendor({ database, wrapper, clock: process.clock }, name, async (text) => {
      token = text;
    });
    process.print(`owner token of ${name} (shown once): ${token}`);
  } finally {
    await close();
  }
}

function failureText(fault: Fault): string {
  const lines = [`error: ${fault.code} ${fault.reason}: ${fault.message}`];
  const violations = fault.violations.map(describeViolation);
  const isSaid = violations.length === 1 && fault.message.includes(violations[0] ?? "");
  if (!isSaid) lines.push(...violations.map((line) => `  ${line}`));
  if (fault.code === "INTERNAL") lines.push(`  ${causeChain(fault.cause ?? fault)}`);
  lines.push(`next: ${fault.next ?? "holdfast-hub doctor"}`);
  return lines.map(escapeControls).join("\n");
}
