/** `holdfast diff`: what can be typed. */
import { EXIT } from "../exit-codes.ts";
import { collect, hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerDiff: Registration = (program, { terminal, noted }) => {
  hub(program.command("diff"))
    .description("what apply would change; exit 10 if anything differs")
    .helpGroup(CHAPTER.objects)
    .requiredOption("-f, --file <file>", "manifest; - for standard input; may be repeated", collect)
    .action(async (options) => {
      const differs = await (await import("../commands/diff.ts")).diff(terminal, options);
      if (differs) noted.exit = EXIT.differences;
    });
};
