/** `holdfast cell create|list|show|delete|token|takeover`: what can be typed. */
import { Option } from "commander";
import { deletion, listAndShow } from "./nouns.ts";
import { dryRun, duration, hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerCell: Registration = (program, typed) => {
  hub(noun(program, "cell").command("create"))
    .description("a place where instances run; --tenant for one in a tenant's account")
    .argument("<name>", "lower-case letters, digits, dots and dashes")
    .addOption(new Option("--kind <kind>").choices(["byoa", "hosted"]).makeOptionMandatory())
    .option("--region <region>", "where it is")
    .option("--account <account>", "of the cloud")
    .addOption(dryRun())
    .action(async (name, options) => {
      note(typed, "cell", name);
      const { kind, region, account } = options;
      await (await import("../commands/nouns.ts")).create(
        typed.terminal,
        "cell",
        name,
        { kind, region, account },
        options,
      );
    });
  listAndShow(program, typed, "cell");
  hub(noun(program, "cell").command("token"))
    .description("a one-time token with which an agent joins the cell")
    .argument("<cell>", "name or id")
    .option("--ttl <duration>", "at most 24h (default 1h)", duration)
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note(typed, "cell", name);
      await (await import("../commands/tokens.ts")).joinToken(typed.terminal, name, options);
    });
  hub(noun(program, "cell").command("takeover"))
    .description("a one-time token with which a new agent takes the cell over from the present one")
    .argument("<cell>", "name or id")
    .option("--ttl <duration>", "at most 24h (default 1h)", duration)
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note(typed, "cell", name);
      await (await import("../commands/tokens.ts")).takeoverToken(typed.terminal, name, options);
    });
  deletion(program, typed, "cell", "delete a cell in which nothing runs any more");
};
