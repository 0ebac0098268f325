/** `holdfast whoami`: what can be typed. */
import { hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerWhoAmI: Registration = (program, { terminal }) => {
  hub(program.command("whoami"))
    .description("who the hub takes you for, and what you may do")
    .helpGroup(CHAPTER.own)
    .action(async (options) => {
      await (await import("../commands/whoami.ts")).whoAmI(terminal, options);
    });
};
