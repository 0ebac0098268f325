/** `holdfast wait`: what can be typed. */
import { collect, hub, KIND_HELP, timeout } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerWait: Registration = (program, typed) => {
  hub(program.command("wait"))
    .description("wait for a condition; exit 6 if it does not come, 7 if rolled back, 9 if held")
    .helpGroup(CHAPTER.objects)
    .argument("<kind>", KIND_HELP)
    .argument("<name>", "name or id")
    .requiredOption(
      "--for <condition>",
      "such as Ready, Healthy=False, or delete; may be repeated",
      collect,
    )
    .addOption(timeout())
    .action(async (kind, name, options) => {
      note(typed, kind, name);
      await (await import("../commands/wait.ts")).wait(typed.terminal, kind, name, options);
    });
};
