/** `holdfast help`: what can be typed. */
import { CHAPTER, type Registration } from "./registration.ts";

export const registerHelp: Registration = (program, { terminal }) => {
  program
    .command("help [words...]")
    .description("help for a command, or: help exit-codes")
    .helpGroup(CHAPTER.own)
    .action(async (words: string[]) => {
      const { help } = await import("../commands/help.ts");
      help(terminal, program, words);
    });
};
