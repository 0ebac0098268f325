/** `holdfast subscription create|list|show|move|delete`: what can be typed. */
import { deletion, listAndShow } from "./nouns.ts";
import { count, dryRun, hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerSubscription: Registration = (program, typed) => {
  hub(noun(program, "subscription").command("create"))
    .description("put a tenant (--tenant) on a plan")
    .argument("<name>", "lower-case letters, digits, dots and dashes")
    .requiredOption("--plan <plan>", "of the product that is offered")
    .option("--plan-version <number>", "default: the newest", count)
    .option("--instance <instance>", "pooled plans: the instance to be seated in")
    .addOption(dryRun())
    .action(async (name, options) => {
      note(typed, "subscription", name);
      const { plan, planVersion, instance } = options;
      await (await import("../commands/nouns.ts")).create(
        typed.terminal,
        "subscription",
        name,
        { plan, planVersion, instance },
        options,
      );
    });
  listAndShow(program, typed, "subscription");
  hub(noun(program, "subscription").command("move"))
    .description("to the newest version of its plan, or to the one that is named")
    .argument("<subscription>", "name or id")
    .option("--plan <plan>", "another plan")
    .option("--plan-version <number>", "default: the newest", count)
    .addOption(dryRun())
    .action(async (name, options) => {
      note(typed, "subscription", name);
      const { moveSubscription } = await import("../commands/nouns.ts");
      await moveSubscription(typed.terminal, name, options);
    });
  deletion(program, typed, "subscription", "end it: the seat is free, its usage stays");
};
