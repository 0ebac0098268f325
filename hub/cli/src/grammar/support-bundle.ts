/** `holdfast support-bundle`: what can be typed. */
import { hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerSupportBundle: Registration = (program, { terminal, version }) => {
  hub(program.command("support-bundle"))
    .description("a file for support: states, conditions and events, without values and secrets")
    .helpGroup(CHAPTER.own)
    .option("--out <file>", "a new file (0600); default: holdfast-support-TIME.tar.gz")
    .option("-y, --yes", "do not ask once the contents are shown")
    .action(async (options) => {
      const { supportBundle } = await import("../commands/support-bundle.ts");
      await supportBundle(terminal, version, options);
    });
};
