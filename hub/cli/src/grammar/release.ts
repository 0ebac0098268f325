/** `holdfast release publish|import-compose|key create`: what can be typed. */
import { collect, dryRun, hub } from "./options.ts";
import { noun, type Registration } from "./registration.ts";

export const registerRelease: Registration = (program, { terminal, noted }) => {
  const release = noun(program, "release");
  hub(release.command("publish"))
    .description("compile, sign and upload a blueprint with its artefacts")
    .requiredOption("-f, --file <file>", "the blueprint")
    .requiredOption("--key <file>", "release key (PEM); may be repeated", collect)
    .addOption(dryRun())
    .action(async (options) => {
      const keys = (options.key as readonly string[]).map((each) => ` --key ${each}`).join("");
      noted.check = `holdfast release publish -f ${options.file}${keys} --dry-run=server`;
      await (await import("../commands/release.ts")).publish(terminal, options);
    });
  release
    .command("import-compose")
    .description(
      "make a blueprint of a Compose file; what cannot be carried over is refused by line",
    )
    .requiredOption("-f, --file <file>", "the Compose file")
    .requiredOption("--product <name>", "the product")
    .option("--release-version <version>", "version of the release", "0.1.0")
    .option("--archive <service=file>", "image archive of a service; may be repeated", collect)
    .action(async (options) => {
      await (await import("../commands/import-compose.ts")).importComposeFile(terminal, options);
    });
  release
    .command("key")
    .description("release keys")
    .command("create")
    .description("make a release key; print its id")
    .requiredOption("--out <file>", "where the private key goes (0600)")
    .action(async (options) => {
      await (await import("../commands/release.ts")).createKey(terminal, options);
    });
};
