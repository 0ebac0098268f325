/** `holdfast key create|list|set`: what can be typed. */
import { Option } from "commander";
import { collect, hub } from "./options.ts";
import { noun, type Registration } from "./registration.ts";

export const registerKey: Registration = (program, { terminal }) => {
  const key = noun(program, "key");
  hub(key.command("list"))
    .description("show the present key sets")
    .action(async (options) => {
      await (await import("../commands/keys.ts")).listKeys(terminal, options);
    });
  key
    .command("create")
    .description("make a key, of any purpose; print its id")
    .requiredOption("--out <file>", "where the private key goes (0600)")
    .action(async (options) => {
      await (await import("../commands/release.ts")).createKey(terminal, options);
    });
  hub(key.command("set"))
    .description("register a key set; the next one must be signed by a key of the present one")
    .requiredOption(
      "--key <file>",
      "key of the new set, private or public; may be repeated",
      collect,
    )
    .option(
      "--sign-with <file>",
      "key of the present set, may be repeated (default: the first --key; destroy: also a release key)",
      collect,
    )
    .addOption(new Option("--purpose <purpose>").choices(["release", "destroy"]).default("release"))
    .action(async (options) => {
      await (await import("../commands/keys.ts")).setKeys(terminal, options);
    });
};
