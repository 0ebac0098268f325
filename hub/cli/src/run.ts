/** One run of the command line: from arguments to an exit code. Never throws. */

import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import { type Command, CommanderError } from "commander";
import { EXIT, type ExitCode, exitCodeOf } from "./exit-codes.ts";
import { failureText } from "./failure.ts";
import type { Noted } from "./grammar/registration.ts";
import { buildProgram, pathOf, withHubOptionsLast } from "./program.ts";
import type { Terminal } from "./terminal.ts";

/** What people try to give a secret with. */
const SECRET_FLAG = /^--?(token|password|secret|value|from-literal|api-?key|private-?key)(=|$)/i;

/** `given` are the arguments after the program's name. */
export async function run(
  terminal: Terminal,
  given: readonly string[],
  version: string,
): Promise<ExitCode> {
  const noted: Noted = { command: "" };
  const args = withHubOptionsLast(given);
  try {
    refuseSecrets(args);
    const program = buildProgram(terminal, version, noted);
    noted.command = commandWords(program, args);
    const isBare = args.length === 0;
    await program.parseAsync(isBare ? ["help"] : [...args], { from: "user" });
    return noted.exit ?? EXIT.ok;
  } catch (error) {
    if (isShown(error)) return EXIT.ok;
    const fault = faultOfRun(error, terminal);
    terminal.err(failureText(fault, noted));
    return exitCodeOf(fault);
  }
}

/** Other users of the machine see the arguments of every program. */
function refuseSecrets(args: readonly string[]): void {
  const flag = args.find((each) => SECRET_FLAG.test(each))?.split("=", 1)[0];
  if (flag === undefined) return;
  throw new Fault(
    "INVALID_ARGUMENT",
    "SECRET_IN_ARGUMENT",
    `${flag}: use a file or stdin; arguments are visible to other users`,
    {
      next: /value|literal|secret/i.test(flag)
        ? "holdfast secret set INSTANCE NAME --from-file FILE"
        : "holdfast context set NAME --api URL --token-file FILE",
    },
  );
}

/** The leading words that name a command, for messages about arguments that were never understood. */
function commandWords(program: Command, args: readonly string[]): string {
  let command = program;
  for (const word of args) {
    const found = command.commands.find((each) => each.name() === word);
    if (found === undefined) break;
    command = found;
  }
  return pathOf(command);
}

function isShown(error: unknown): boolean {
  return (
    error instanceof CommanderError &&
    ["commander.helpDisplayed", "commander.version"].includes(error.code)
  );
}

function faultOfRun(error: unknown, terminal: Terminal): Fault {
  if (error instanceof CommanderError) return usageFault(error);
  if (terminal.signal.aborted) return new Fault("CANCELLED", "INTERRUPTED", "interrupted");
  const fault = asFault(error, "the command failed; this is a bug");
  if (fault.code !== "INTERNAL" || error instanceof Fault) return fault;
  return new Fault("INTERNAL", "INTERNAL", `${fault.message}: ${causeChain(error)}`, {
    cause: error,
  });
}

function usageFault(error: CommanderError): Fault {
  // A group without a command shows its help in place of a message.
  const isHelp = error.code === "commander.help";
  const text = error.message
    .replace(/^error: /, "")
    .replaceAll("\n", " ")
    .trim();
  const message = isHelp ? "a command is missing" : text;
  return new Fault("INVALID_ARGUMENT", "USAGE", message);
}
