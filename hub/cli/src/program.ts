/**
 * The command line: every command, its arguments and options. Only this is loaded at the start; what a command
 * does is loaded when it runs.
 */

import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Terminal } from "./terminal.ts";

/** Names of a command's words that were read, for messages. */
export type Noted = {
  command: string;
  kind?: string;
  name?: string;
  tenant?: string;
  check?: string;
};

const FORMS = ["table", "json", "yaml", "name"];
const KIND_HELP =
  "tenant, member, product, release, environment, plan, cell, agent, subscription, instance, seat";

/** `version` is shown by `holdfast version`. `noted` learns what is being attempted. */
export function buildProgram(terminal: Terminal, version: string, noted: Noted): Command {
  const program = new Command("holdfast")
    .description("Runs products in other people's clouds. Data on stdout, all else on stderr.")
    .exitOverride()
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ writeOut: terminal.out, writeErr: () => undefined });
  program.hook("preAction", (_, command) => {
    noted.command = pathOf(command);
    const { tenant } = command.opts<{ tenant?: string }>();
    if (tenant !== undefined) noted.tenant = tenant;
  });
  addObjectCommands(program, terminal, noted);
  addFeedCommands(program, terminal);
  addReleaseCommands(program, terminal, noted);
  addTokenCommands(program, terminal, noted);
  addContextCommands(program, terminal);
  program
    .command("version")
    .description("show the version")
    .action(() => terminal.out(`holdfast ${version}\n`));
  program
    .command("help [words...]")
    .description("help for a command, or: help exit-codes")
    .action(async (words: string[]) => {
      const { help } = await import("./commands/help.ts");
      help(terminal, program, words);
    });
  forbidRepeats(program);
  return program;
}

/** Words after the program's own name. */
export function pathOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? "" : `${pathOf(parent)} ${command.name()}`.trim();
}

function addObjectCommands(program: Command, terminal: Terminal, noted: Noted): void {
  const note = (kind: string, name?: string) => {
    noted.kind = kind;
    if (name !== undefined) noted.name = name;
  };
  hub(program.command("apply"))
    .description("make objects as manifests say")
    .requiredOption("-f, --file <file>", "manifest; - for standard input; may be repeated", collect)
    .addOption(dryRun())
    .option("--wait", "until instances serve what is wanted")
    .addOption(timeout())
    .action(async (options) => {
      const files = (options.file as readonly string[]).map((each) => ` -f ${each}`).join("");
      noted.check = `holdfast apply${files} --dry-run=server`;
      await (await import("./commands/apply.ts")).apply(terminal, options);
    });
  hub(program.command("get"))
    .description("list objects, problems first, or show one")
    .argument("<kind>", KIND_HELP)
    .argument("[name]", "name or id")
    .option("-l, --label <key=value>", "only those with this label; may be repeated", collect)
    .action(async (kind, name, options) => {
      note(kind, name);
      await (await import("./commands/get.ts")).get(terminal, kind, name, options);
    });
  hub(program.command("describe"))
    .description("all about one object on one screen, and why it is so")
    .argument("<kind>", KIND_HELP)
    .argument("<name>", "name or id")
    .action(async (kind, name, options) => {
      note(kind, name);
      await (await import("./commands/describe.ts")).describe(terminal, kind, name, options);
    });
  hub(program.command("delete"))
    .description("delete an object; the data of an instance is kept")
    .argument("<kind>", "tenant, member, cell, subscription, instance")
    .argument("<name>", "name or id")
    .option("-y, --yes", "do not ask")
    .addOption(dryRun())
    .option("--wait", "until it is gone")
    .addOption(timeout())
    .action(async (kind, name, options) => {
      note(kind, name);
      await (await import("./commands/delete.ts")).remove(terminal, kind, name, options);
    });
  hub(program.command("wait"))
    .description("wait for a condition; exit 6 if it does not come, 7 if rolled back, 9 if held")
    .argument("<kind>", KIND_HELP)
    .argument("<name>", "name or id")
    .requiredOption(
      "--for <condition>",
      "such as Ready, Healthy=False, or delete; may be repeated",
      collect,
    )
    .addOption(timeout())
    .action(async (kind, name, options) => {
      note(kind, name);
      await (await import("./commands/wait.ts")).wait(terminal, kind, name, options);
    });
}

function addFeedCommands(program: Command, terminal: Terminal): void {
  hub(program.command("events"))
    .description("what happened, and who did it")
    .option("--follow", "go on with what happens now")
    .option("--subject <kind/name>", "only about this object")
    .option("--limit <count>", "how many of the latest (default 50)", count)
    .action(async (options) => {
      await (await import("./commands/events.ts")).events(terminal, options);
    });
  hub(program.command("usage"))
    .description("what tenants used, by meter and seat")
    .option("--meter <name>", "only this meter")
    .option("--since <time>", "24h, or 2026-11-20T08:00:00Z")
    .option("--until <time>", "24h, or 2026-11-20T08:00:00Z")
    .action(async (options) => {
      await (await import("./commands/usage.ts")).usage(terminal, options);
    });
  hub(program.command("whoami"))
    .description("who the hub takes you for, and what you may do")
    .action(async (options) => {
      await (await import("./commands/whoami.ts")).whoAmI(terminal, options);
    });
}

function addReleaseCommands(program: Command, terminal: Terminal, noted: Noted): void {
  const release = program.command("release").description("publish releases");
  hub(release.command("publish"))
    .description("compile, sign and upload a blueprint with its artefacts")
    .requiredOption("-f, --file <file>", "the blueprint")
    .requiredOption("--key <file>", "release key (PEM); may be repeated", collect)
    .addOption(dryRun())
    .action(async (options) => {
      const keys = (options.key as readonly string[]).map((each) => ` --key ${each}`).join("");
      noted.check = `holdfast release publish -f ${options.file}${keys} --dry-run=server`;
      await (await import("./commands/release.ts")).publish(terminal, options);
    });
  release
    .command("key")
    .description("release keys")
    .command("create")
    .description("make a release key; print its id")
    .requiredOption("--out <file>", "where the private key goes (0600)")
    .action(async (options) => {
      await (await import("./commands/release.ts")).createKey(terminal, options);
    });
  const key = program.command("key").description("the key sets that agents pin");
  hub(key.command("list"))
    .description("show the present key sets")
    .action(async (options) => {
      await (await import("./commands/keys.ts")).listKeys(terminal, options);
    });
  hub(key.command("set"))
    .description("register a key set; the next one must be signed by a key of the present one")
    .requiredOption(
      "--key <file>",
      "key of the new set, private or public; may be repeated",
      collect,
    )
    .option("--sign-with <file>", "key of the present set (default: the first --key)", collect)
    .addOption(new Option("--purpose <purpose>").choices(["release", "destroy"]).default("release"))
    .action(async (options) => {
      await (await import("./commands/keys.ts")).setKeys(terminal, options);
    });
}

function addTokenCommands(program: Command, terminal: Terminal, noted: Noted): void {
  const note = (kind: string, name: string) => Object.assign(noted, { kind, name });
  const cell = program.command("cell").description("cells and their agents");
  hub(cell.command("token"))
    .description("a one-time token with which an agent joins the cell")
    .argument("<cell>", "name or id")
    .option("--ttl <duration>", "at most 24h (default 1h)", duration)
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note("cell", name);
      await (await import("./commands/tokens.ts")).joinToken(terminal, name, options);
    });
  const member = program.command("member").description("people and service accounts");
  hub(member.command("token"))
    .description("a token with which the member signs in; shown once")
    .argument("<member>", "name or id")
    .option("--ttl <duration>", "at most 366d (default 90d)", duration)
    .option("--description <text>", "what it is for")
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note("member", name);
      await (await import("./commands/tokens.ts")).memberToken(terminal, name, options);
    });
}

function addContextCommands(program: Command, terminal: Terminal): void {
  const context = program.command("context").description("which hub, and as whom");
  context
    .command("list")
    .description("show the known contexts")
    .addOption(outputForm())
    .action(async (options) => {
      await (await import("./commands/context.ts")).listContexts(terminal, options);
    });
  context
    .command("use")
    .description("make a context the current one")
    .argument("<name>")
    .action(async (name) => {
      await (await import("./commands/context.ts")).useContext(terminal, name);
    });
  context
    .command("set")
    .description("add or replace a context in your own file")
    .argument("<name>")
    .requiredOption("--api <url>", "https://HOST:PORT of the hub")
    .option("--ca-file <file>", "the hub's root certificate")
    .option("--token-file <file>", "your token")
    .option("--tenant <name>", "the tenant that commands are about")
    .action(async (name, options) => {
      await (await import("./commands/context.ts")).setContext(terminal, name, options);
    });
}

/** Options of every command that talks to the hub. */
function hub(command: Command): Command {
  for (const option of hubOptions()) command.addOption(option.helpGroup("For all commands:"));
  return command;
}

function hubOptions(): readonly Option[] {
  return [
    outputForm(),
    new Option("--tenant <name>", "whose objects"),
    new Option("--context <name>", "which hub and whose token (see: context list)"),
    new Option("--api <url>", "another hub than the context's"),
    new Option("--ca-file <file>", "the hub's root certificate"),
    new Option("--token-file <file>", "file with your token"),
  ];
}

/** People put what holds for all commands first, too: `holdfast --context acme get seats`. */
export function withHubOptionsLast(args: readonly string[]): readonly string[] {
  const options = hubOptions();
  const leading: string[] = [];
  let rest = args;
  for (let [first] = rest; first !== undefined; [first] = rest) {
    const [flag, value] = first.split("=", 2);
    if (!options.some(({ short, long }) => flag === short || flag === long)) break;
    const words = value === undefined ? 2 : 1;
    leading.push(...rest.slice(0, words));
    rest = rest.slice(words);
  }
  return [...rest, ...leading];
}

function outputForm(): Option {
  return new Option("-o, --output <form>", "form of the output").choices(FORMS);
}

function dryRun(): Option {
  return new Option("--dry-run <where>", "let the hub judge, change nothing").choices(["server"]);
}

function timeout(): Option {
  return new Option("--timeout <duration>", "how long to wait, such as 90s (default 5m)").argParser(
    duration,
  );
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

function duration(value: string): number {
  const ms = durationMs(value);
  if (ms === undefined) throw new InvalidArgumentError(`Allowed: ${DURATION_RULE}.`);
  return ms;
}

const COUNT_MAX = 10_000;

function count(value: string): number {
  const number = /^[1-9]\d{0,8}$/.test(value) ? Number(value) : 0;
  if (number > 0 && number <= COUNT_MAX) return number;
  throw new InvalidArgumentError(`Allowed: a whole number from 1 to ${COUNT_MAX}.`);
}

/** The second value of an option would silently win over the first. */
function forbidRepeats(command: Command): void {
  for (const option of command.options) {
    if (option.parseArg === collect) continue;
    let seen: unknown;
    command.on(`option:${option.name()}`, (value: unknown) => {
      if (seen !== undefined) {
        const flag = option.long ?? option.flags;
        const shown = typeof value === "string" ? ` (${seen} and ${value})` : "";
        command.error(`error: option ${flag} is given twice${shown}`, { code: "holdfast.twice" });
      }
      seen = value ?? true;
    });
  }
  for (const child of command.commands) forbidRepeats(child);
}
