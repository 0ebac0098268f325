/** The command line of `holdfast-sim`. What a command does is loaded when it runs. */
import type { Readable } from "node:stream";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { Command, InvalidArgumentError } from "commander";
import { parseOrder } from "./break/conditions.ts";
import type { Address } from "./break/proxy.ts";
import { AGENTS_MAX, PROCESSES_MAX } from "./fleet/bounds.ts";

export type ProgramHost = Readonly<{
  terminal: Terminal;
  version: string;
  /** Used unless one is given. */
  seed: number;
  /** Standard input, for a proxy's orders. */
  lines: Readable;
}>;

const PORT_MAX = 65_535;
const SEED_MAX = 2 ** 32 - 1;

export function buildProgram(host: ProgramHost): Command {
  const { terminal, version } = host;
  const program = new Command("holdfast-sim")
    .description("Simulated agents on the real link, and a proxy that makes a network bad.")
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: () => undefined });
  addFleet(program, host);
  addBreak(program, host);
  return program;
}

function addFleet(program: Command, { terminal, version, seed }: ProgramHost): void {
  program
    .command("fleet")
    .description("agents that join, hold assignments, report status and usage, and run nothing")
    .option("--agents <n>", "how many", numberUpTo(AGENTS_MAX), 10)
    .option("--processes <n>", "in how many processes", numberUpTo(PROCESSES_MAX), 1)
    .option("--prefix <name>", "of the names of cells, agents and instances", "sim")
    .option("--state <dir>", "keeps identities for the next run", ".holdfast/sim")
    .option("--hub <url>", "instead of the context's; with --ca-file and --token-file")
    .option("--context <name>", "context of the command line")
    .option("--ca-file <file>", "PEM of the hub's root")
    .option("--token-file <file>", "file with a member's token")
    .option(
      "--release-key <file>",
      "offer and hold the simulator's own product, signed with this key",
    )
    .option("--product <name>", "hold instances of this product instead")
    .option("--release <version>", "release of --product (1.0.0)")
    .option("--plan <name>", "pooled plan of --product (its name)")
    .option("--environment <name>", "of --product")
    .option("--parameter <name=value>", "of each instance; may be repeated", collect, [])
    .option("--link <host:port>", "connect here, such as to a proxy; may be repeated", collect)
    .option("--fault <name=value>", "flap=10s, forget=60s, slow=200ms, fail=10%", collect, [])
    .option("--ready-after <time>", "until a generation is ready", duration, 0)
    .option("--usage-every <time>", "between usage records; 0s: none", duration, 60_000)
    .option("--status-every <time>", "report unchanged statuses too; 0s: no", duration, 0)
    .option("--keepalive <time>", "between pings", duration, 10_000)
    .option("--connect-over <time>", "spread the first connections", duration, 0)
    .option("--duration <time>", "end by itself after this", duration)
    .option("--seed <n>", "repeats the chances of another run", numberUpTo(SEED_MAX), seed)
    .option("--json", "every event as a line of JSON on standard output")
    .option("--verbose", "what each agent logs")
    .action(async (options) => {
      const { runFleet } = await import("./fleet/command.ts");
      await runFleet(terminal, options, version);
    });
}

function addBreak(program: Command, { terminal, seed, lines }: ProgramHost): void {
  program
    .command("break")
    .description("a TCP proxy that makes a network bad; takes orders on standard input")
    .requiredOption("--listen <host:port>", "where to listen", address)
    .requiredOption("--to <host:port>", "where connections go", address)
    .option("--delay <time>", "each way", order("delay"))
    .option("--jitter <time>", "at most this much more, by chance", order("jitter"))
    .option("--loss <share>", "of the pieces, late by a retransmission; such as 1%", order("loss"))
    .option("--bandwidth <bytes>", "a second each way, such as 64KiB", order("bandwidth"))
    .option("--cut <every=time,for=time>", "nothing passes, and nobody is told", order("cuts"))
    .option("--reset", "tell cuts by a reset")
    .option("--half-open", "accept, and pass nothing")
    .option("--seed <n>", "repeats the chances of another run", numberUpTo(SEED_MAX), seed)
    .action(async (options) => {
      const { runBreak } = await import("./break/command.ts");
      await runBreak(terminal, options, lines);
    });
}

/** Checks a condition where it is written, and keeps it as an order. */
function order(name: string): (value: string) => string {
  return (value) => {
    try {
      parseOrder(`${name}=${value}`);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
    return `${name}=${value}`;
  };
}

function address(text: string): Address {
  const at = text.lastIndexOf(":");
  const port = /^\d{1,5}$/.test(text.slice(at + 1)) ? Number(text.slice(at + 1)) : -1;
  const host = text.slice(0, Math.max(0, at)).replace(/^\[|\]$/g, "");
  if (host !== "" && port >= 0 && port <= PORT_MAX) return { host, port };
  throw new InvalidArgumentError("allowed: HOST:PORT");
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function duration(text: string): number {
  const ms = durationMs(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError(`allowed: ${DURATION_RULE}`);
}

function numberUpTo(max: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (number >= 1 && number <= max) return number;
    throw new InvalidArgumentError(`allowed: 1 to ${max}`);
  };
}
