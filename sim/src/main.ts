/** The program `holdfast-sim`: simulated agents on the real link, and a proxy that makes a network bad. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { EXIT, exitCodeOf } from "@holdfast/cli/src/exit-codes.ts";
import { failureText } from "@holdfast/cli/src/failure.ts";
import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import { CommanderError } from "commander";
import { buildProgram } from "./program.ts";
import { simTerminal } from "./terminal.ts";

const SEED_MAX = 2 ** 31 - 1;

const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
const { version } = JSON.parse(manifest) as { version: string };
const interrupt = new AbortController();
const terminal = simTerminal({
  env: process.env,
  workingDirectory: process.cwd(),
  homeDirectory: homedir(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  signal: interrupt.signal,
  random: Math.random,
});

/** The first time it ends in order; the second time at once. */
function stop(): void {
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort();
}

process.on("SIGINT", stop);
process.on("SIGTERM", stop);
process.stdout.on("error", () => interrupt.abort());

function failed(error: unknown): number {
  const isShown =
    error instanceof CommanderError &&
    ["commander.helpDisplayed", "commander.version", "commander.help"].includes(error.code);
  if (isShown) return EXIT.ok;
  const fault =
    error instanceof CommanderError
      ? new Fault("INVALID_ARGUMENT", "USAGE", error.message.replace(/^error: /, ""))
      : asFault(error, `it failed; this is a bug: ${causeChain(error)}`);
  const next = fault.next ?? "holdfast-sim --help";
  const shown = new Fault(fault.code, fault.reason, fault.message, {
    violations: fault.violations,
    next,
  });
  terminal.err(failureText(shown, { command: "" }));
  return exitCodeOf(fault);
}

async function main(args: readonly string[]): Promise<number> {
  const lines = process.stdin;
  try {
    const seed = randomInt(1, SEED_MAX);
    await buildProgram({ terminal, version, seed, lines }).parseAsync(
      args.length === 0 ? ["--help"] : [...args],
      {
        from: "user",
      },
    );
    return EXIT.ok;
  } catch (error) {
    return failed(error);
  }
}

process.exit(await main(process.argv.slice(2)));
