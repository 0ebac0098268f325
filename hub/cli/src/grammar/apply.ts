/** `holdfast apply`: what can be typed. */
import { collect, dryRun, hub, timeout } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerApply: Registration = (program, { terminal, noted }) => {
  hub(program.command("apply"))
    .description("make objects as manifests say")
    .helpGroup(CHAPTER.objects)
    .requiredOption("-f, --file <file>", "manifest; - for standard input; may be repeated", collect)
    .addOption(dryRun())
    .option("--wait", "until instances serve what is wanted")
    .addOption(timeout())
    .action(async (options) => {
      const files = (options.file as readonly string[]).map((each) => ` -f ${each}`).join("");
      noted.check = `holdfast apply${files} --dry-run=server`;
      await (await import("../commands/apply.ts")).apply(terminal, options);
    });
};
