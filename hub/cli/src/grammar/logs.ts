/** `holdfast logs`: what can be typed. */
import { count, hub } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerLogs: Registration = (program, typed) => {
  hub(program.command("logs"))
    .description("what an instance has printed, and what is missing of it")
    .helpGroup(CHAPTER.asking)
    .argument("<instance>", "name or id")
    .option("-f, --follow", "go on with what it prints now")
    .option("--since <time>", "10m, or 2026-11-20T08:00:00Z")
    .option("--until <time>", "10m, or 2026-11-20T08:00:00Z")
    .option("--grep <text>", "only lines with this text, letter by letter")
    .option("--resource <id>", "only of this resource")
    .option("--limit <count>", "how many of the latest (default 100; with --since 10000)", count)
    .action(async (name, options) => {
      note(typed, "instance", name);
      await (await import("../commands/logs.ts")).logs(typed.terminal, name, options);
    });
};
