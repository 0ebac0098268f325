/** `holdfast tenant create|list|show|delete`: what can be typed. */
import { deletion, listAndShow } from "./nouns.ts";
import { dryRun, hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerTenant: Registration = (program, typed) => {
  hub(noun(program, "tenant").command("create"))
    .description("a customer of the vendor")
    .argument("<name>", "lower-case letters, digits, dots and dashes")
    .option("--display-name <text>", "for people")
    .addOption(dryRun())
    .action(async (name, options) => {
      note(typed, "tenant", name);
      const spec = { displayName: options.displayName };
      await (await import("../commands/nouns.ts")).create(
        typed.terminal,
        "tenant",
        name,
        spec,
        options,
      );
    });
  listAndShow(program, typed, "tenant");
  deletion(program, typed, "tenant", "delete a tenant that has nothing any more");
};
