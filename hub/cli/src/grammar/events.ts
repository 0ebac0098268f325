/** `holdfast events`: what can be typed. */
import { count, hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerEvents: Registration = (program, { terminal }) => {
  hub(program.command("events"))
    .description("what happened, and who did it")
    .helpGroup(CHAPTER.asking)
    .option("--follow", "go on with what happens now")
    .option("--subject <kind/name>", "only about this object")
    .option("--limit <count>", "how many of the latest (default 50)", count)
    .action(async (options) => {
      await (await import("../commands/events.ts")).events(terminal, options);
    });
};
