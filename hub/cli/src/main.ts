/** Entry of `holdfast`: hands the process's streams, environment and signals to one run of the command line. */
import { homedir } from "node:os";
import { createInterface } from "node:readline/promises";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import about from "../package.json" with { type: "json" };
import { EXIT } from "./exit-codes.ts";
import { run } from "./run.ts";
import type { Terminal } from "./terminal.ts";

async function readStdin(bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      const message = `standard input has more than ${bytesMax} bytes`;
      throw new Fault("INVALID_ARGUMENT", "STDIN_TOO_LARGE", message);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const interrupt = new AbortController();

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(question, { signal: interrupt.signal });
  } finally {
    lines.close();
  }
}

function hasColor(): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0") return true;
  return process.stdout.isTTY === true && TERM !== "dumb";
}

/** Whoever reads us may stop early (`| head`): that is no failure. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
}

process.stdout.on("error", endWithReader);
/** The first time the command ends in order; the second time at once. */
function stop(): void {
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort();
}

process.on("SIGINT", stop);
process.on("SIGTERM", stop);

const terminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  readStdin,
  ask,
  env: process.env,
  workingDirectory: process.cwd(),
  homeDirectory: homedir(),
  isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
  hasColor: hasColor(),
  columns: process.stdout.isTTY ? process.stdout.columns : undefined,
  signal: interrupt.signal,
  clock: systemClock,
  random: Math.random,
  randomUuid: () => crypto.randomUUID(),
};

process.exitCode = await run(terminal, process.argv.slice(2), about.version);
