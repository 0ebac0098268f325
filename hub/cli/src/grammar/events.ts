/** `holdfast events`: what can be typed. */
import { count, hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerEvents: Registration = (program, { terminal }) => {
  hub(program.command("events"))
    .description("what changed and who did it, the newest first")
    .helpGroup(CHAPTER.asking)
    .option("--follow", "in their order, and go on with what happens now")
    .option("--subject <kind/name>", "only about this object")
    .option("--changes", "only what somebody asked for, not what agents report")
    .option("--since <time>", "24h, or 2026-11-20T08:00:00Z")
    .option("--limit <count>", "how many of the latest (default 50)", count)
    .action(async (options) => {
      await (await import("../commands/events.ts")).events(terminal, options);
    });
};
