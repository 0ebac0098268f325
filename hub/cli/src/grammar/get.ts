/** `holdfast get`: what can be typed. */
import { collect, hub, KIND_HELP } from "./options.ts";
import { CHAPTER, note, type Registration } from "./registration.ts";

export const registerGet: Registration = (program, typed) => {
  hub(program.command("get"))
    .description("list objects, problems first, or show one")
    .helpGroup(CHAPTER.objects)
    .argument("<kind>", KIND_HELP)
    .argument("[name]", "name or id")
    .option("-l, --label <key=value>", "only those with this label; may be repeated", collect)
    .option("--release <release>", "instances that want or run it, seats that it serves")
    .option("--cell <cell>", "instances and seats in it")
    .option("--instance <instance>", "seats of it")
    .option(
      "--filter <terms>",
      'by name, labels and age, such as \'name:"etl" AND create_time>"2026-11-01T00:00:00Z"\'',
    )
    .option("--sort-by <order>", "name or create_time, also with ' desc'; not problems first then")
    .action(async (kind, name, options) => {
      note(typed, kind, name);
      await (await import("../commands/get.ts")).get(typed.terminal, kind, name, options);
    });
};
