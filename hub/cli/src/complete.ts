/**
 * What can follow on a command line, read from the tree of commands: commands, options, words of an option, kinds, and
 * names that the hub knows. The hub gets a short time; a shell that waits is worse than one that offers nothing.
 */
import type { Argument, Command, Option } from "commander";
import { nameOf } from "./format.ts";
import { KINDS } from "./kinds.ts";
import type { HubOptions } from "./session.ts";
import type { Terminal } from "./terminal.ts";

const NAMES_MS_MAX = 1_500;
const NAMES_MAX = 200;
/** Tells the shell's script to offer files. */
export const FILES = ":files";

/** What stands on the line before the word that is typed. */
type Line = Readonly<{
  command: Command;
  /** Words that belong to no option. */
  operands: readonly string[];
  /** An option that waits for its value. */
  open: Option | undefined;
  options: HubOptions;
}>;

/** Candidates for the last of `words`, each with what it means after a tab. */
export async function candidates(
  terminal: Terminal,
  program: Command,
  words: readonly string[],
): Promise<readonly string[]> {
  const typed = words.at(-1) ?? "";
  const line = read(program, words.slice(0, -1));
  const all = typed.startsWith("-") ? optionsOf(line) : await valuesOf(terminal, line);
  return all.filter((each) => each === FILES || each.startsWith(typed));
}

function read(program: Command, words: readonly string[]): Line {
  let command = program;
  let open: Option | undefined;
  const operands: string[] = [];
  const values: Record<string, string> = {};
  for (const word of words) {
    if (open !== undefined) {
      values[open.attributeName()] = word;
      open = undefined;
      continue;
    }
    const child = operands.length === 0 ? childOf(command, word) : undefined;
    if (child !== undefined) command = child;
    else if (word.startsWith("-")) {
      const found = command.options.find(({ short, long }) => word === short || word === long);
      open = found?.required === true ? found : undefined;
    } else operands.push(word);
  }
  return { command, operands, open, options: values as HubOptions };
}

function childOf(command: Command, word: string): Command | undefined {
  return command.commands.find((each) => each.name() === word);
}

function optionsOf({ command }: Line): readonly string[] {
  return command.options.flatMap(({ long, description }) =>
    long === undefined || long === null ? [] : [`${long}\t${description}`],
  );
}

async function valuesOf(terminal: Terminal, line: Line): Promise<readonly string[]> {
  const { command, operands, open } = line;
  if (open !== undefined) {
    if (open.argChoices !== undefined) return open.argChoices;
    return await namesFor(terminal, placeholderOf(open.flags), line);
  }
  const shown = command.commands.filter((each) => !each.name().startsWith("__"));
  if (shown.length > 0 && operands.length > 0) return [];
  if (shown.length > 0) return shown.map((each) => `${each.name()}\t${each.description()}`);
  const argument = command.registeredArguments[operands.length] as Argument | undefined;
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return argument.argChoices;
  return await namesFor(terminal, argument.name(), line);
}

/** `--tenant <name>` asks for a name of a tenant, `--out <file>` for a file. */
function placeholderOf(flags: string): string {
  const [, word = ""] = /<([^>]+)>/.exec(flags) ?? [];
  const [, flag = ""] = /--([a-z-]+)/.exec(flags) ?? [];
  return word === "name" ? flag : word;
}

async function namesFor(terminal: Terminal, word: string, line: Line): Promise<readonly string[]> {
  if (word === "file") return [FILES];
  if (word === "kind") return KINDS.map(({ name }) => name);
  if (word === "context") return await contextNames(terminal);
  const kindWord = word === "name" ? (line.operands[0] ?? "") : word;
  const isOfKind = KINDS.some(({ name, plural, short }) => {
    return [name, plural, ...short].includes(kindWord);
  });
  return isOfKind ? await hubNames(terminal, kindWord, line.options) : [];
}

async function contextNames(terminal: Terminal): Promise<readonly string[]> {
  const { contextFiles } = await import("./contexts.ts");
  const files = await contextFiles(terminal);
  return files.flatMap(({ contexts }) => contexts.map(({ name }) => name));
}

/** None where the hub does not answer in time, or does not let the caller list them. */
async function hubNames(
  terminal: Terminal,
  word: string,
  options: HubOptions,
): Promise<readonly string[]> {
  const late = new AbortController();
  const quiet: Terminal = { ...terminal, err: () => undefined, signal: late.signal };
  void terminal.clock.sleep(NAMES_MS_MAX, late.signal).then(() => late.abort());
  try {
    const [{ kindOf }, { ObjectCalls }, { withHub }] = await Promise.all([
      import("./kinds.ts"),
      import("./object-calls.ts"),
      import("./session.ts"),
    ]);
    return await withHub(quiet, options, async (hub) => {
      const calls = await ObjectCalls.of(kindOf(word), hub);
      const { items } = await calls.list(hub.context.tenant, {}, "", NAMES_MAX);
      return items.map(nameOf);
    });
  } catch {
    return [];
  } finally {
    late.abort();
  }
}
