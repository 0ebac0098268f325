/** `holdfast cell token`: what can be typed. */
import { duration, hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerCell: Registration = (program, typed) => {
  hub(noun(program, "cell").command("token"))
    .description("a one-time token with which an agent joins the cell")
    .argument("<cell>", "name or id")
    .option("--ttl <duration>", "at most 24h (default 1h)", duration)
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note(typed, "cell", name);
      await (await import("../commands/tokens.ts")).joinToken(typed.terminal, name, options);
    });
};
