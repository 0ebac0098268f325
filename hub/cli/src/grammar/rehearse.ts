/** `holdfast rehearse`: what can be typed. */
import { hub } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerRehearse: Registration = (program, typed) => {
  hub(program.command("rehearse"))
    .description("ask the agent what a change would do; nothing is done, exit 9 if held")
    .helpGroup(CHAPTER.objects)
    .argument("[instance]", "name or id, with --release")
    .option("-f, --file <file>", "manifests of instances; - is standard input")
    .option("--release <version>", "as if it were moved to this release")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await import("../commands/rehearse.ts")).rehearse(typed.terminal, instance, options);
    });
};
