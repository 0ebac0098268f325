/** `holdfast member token`: what can be typed. */
import { duration, hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerMember: Registration = (program, typed) => {
  hub(noun(program, "member").command("token"))
    .description("a token with which the member signs in; shown once")
    .argument("<member>", "name or id")
    .option("--ttl <duration>", "at most 366d (default 90d)", duration)
    .option("--description <text>", "what it is for")
    .option("--out <file>", "write it to a new file (0600)")
    .action(async (name, options) => {
      note(typed, "member", name);
      await (await import("../commands/tokens.ts")).memberToken(typed.terminal, name, options);
    });
};
