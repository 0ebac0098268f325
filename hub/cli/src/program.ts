/** The command line as a whole: every registered command, and what holds for all of them. */
import { Command } from "commander";
import { REGISTRATIONS } from "./grammar/all.ts";
import { collect, hubOptions } from "./grammar/options.ts";
import type { Noted, Typed } from "./grammar/registration.ts";
import type { Terminal } from "./terminal.ts";

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
  const typed: Typed = { terminal, version, noted };
  for (const register of REGISTRATIONS) register(program, typed);
  forbidRepeats(program);
  return program;
}

/** Words after the program's own name. */
export function pathOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? "" : `${pathOf(parent)} ${command.name()}`.trim();
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
