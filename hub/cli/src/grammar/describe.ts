/** `holdfast describe`: what can be typed. */
import { hub, KIND_HELP } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerDescribe: Registration = (program, typed) => {
  hub(program.command("describe"))
    .description("all about one object on one screen, and why it is so")
    .helpGroup(CHAPTER.objects)
    .argument("<kind>", KIND_HELP)
    .argument("<name>", "name or id")
    .action(async (kind, name, options) => {
      note(typed, kind, name);
      await (await import("../commands/describe.ts")).describe(typed.terminal, kind, name, options);
    });
};
