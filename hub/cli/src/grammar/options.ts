/** Options that several commands share, and the values that they take. */
import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { type Command, InvalidArgumentError, Option } from "commander";

const FORMS = ["table", "json", "yaml", "name"];
export const KIND_HELP =
  "tenant, member, product, release, environment, plan, cell, agent, subscription, instance, seat";
const COUNT_MAX = 10_000;

/** Options of every command that talks to the hub. */
export function hub(command: Command): Command {
  for (const option of hubOptions()) command.addOption(option.helpGroup("For all commands:"));
  return command;
}

export function hubOptions(): readonly Option[] {
  return [
    outputForm(),
    new Option("--tenant <name>", "whose objects"),
    new Option("--context <name>", "which hub and whose token (see: context list)"),
    new Option("--api <url>", "another hub than the context's"),
    new Option("--ca-file <file>", "the hub's root certificate"),
    new Option("--token-file <file>", "file with your token"),
  ];
}

export function outputForm(): Option {
  return new Option("-o, --output <form>", "form of the output").choices(FORMS);
}

export function dryRun(): Option {
  return new Option("--dry-run <where>", "let the hub judge, change nothing").choices(["server"]);
}

export function timeout(): Option {
  return new Option("--timeout <duration>", "how long to wait, such as 90s (default 5m)").argParser(
    duration,
  );
}

/** Of an option that may be repeated. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

export function duration(value: string): number {
  const ms = durationMs(value);
  if (ms === undefined) throw new InvalidArgumentError(`Allowed: ${DURATION_RULE}.`);
  return ms;
}

export function count(value: string): number {
  const number = /^[1-9]\d{0,8}$/.test(value) ? Number(value) : 0;
  if (number > 0 && number <= COUNT_MAX) return number;
  throw new InvalidArgumentError(`Allowed: a whole number from 1 to ${COUNT_MAX}.`);
}
