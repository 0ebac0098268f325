/** `holdfast delete`: what can be typed. */
import { dryRun, hub, timeout } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerDelete: Registration = (program, typed) => {
  hub(program.command("delete"))
    .description("delete an object; the data of an instance is kept")
    .helpGroup(CHAPTER.objects)
    .argument("<kind>", "tenant, member, cell, subscription, instance")
    .argument("<name>", "name or id")
    .option("-y, --yes", "do not ask")
    .addOption(dryRun())
    .option("--wait", "until it is gone")
    .addOption(timeout())
    .action(async (kind, name, options) => {
      note(typed, kind, name);
      await (await import("../commands/delete.ts")).remove(typed.terminal, kind, name, options);
    });
};
