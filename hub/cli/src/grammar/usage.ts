/** `holdfast usage`: what can be typed. */
import { hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerUsage: Registration = (program, { terminal }) => {
  hub(program.command("usage"))
    .description("what tenants used, by meter and seat")
    .helpGroup(CHAPTER.asking)
    .option("--meter <name>", "only this meter")
    .option("--since <time>", "24h, or 2026-11-20T08:00:00Z")
    .option("--until <time>", "24h, or 2026-11-20T08:00:00Z")
    .action(async (options) => {
      await (await import("../commands/usage.ts")).usage(terminal, options);
    });
};
