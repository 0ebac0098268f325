/** `holdfast help [COMMAND]` and `holdfast help exit-codes`. */

import { Fault } from "@holdfast/shared/fault.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";
import type { Command } from "commander";
import { EXIT_MEANINGS } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

const EXIT_CODES = "exit-codes";

export function help(terminal: Terminal, program: Command, words: readonly string[]): void {
  if (words[0] === EXIT_CODES) {
    terminal.out(
      EXIT_MEANINGS.map(([code, text]) => `${String(code).padStart(3)}  ${text}\n`).join(""),
    );
    return;
  }
  let command = program;
  for (const word of words) {
    const names = command.commands.map((each) => each.name());
    const found = command.commands.find((each) => each.name() === word);
    if (found === undefined) {
      const near = suggestion(word, [...names, EXIT_CODES]);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      const message = `no help for ${shown(word)}${hint}`;
      throw new Fault("INVALID_ARGUMENT", "USAGE", message, { next: "holdfast help" });
    }
    command = found;
  }
  terminal.out(command.helpInformation());
  if (command === program) terminal.out("\nExit codes: holdfast help exit-codes\n");
}
