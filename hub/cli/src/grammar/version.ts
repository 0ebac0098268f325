/** `holdfast version` and `--version`. */
import { CHAPTER, type Registration } from "./registration.ts";

export const registerVersion: Registration = (program, { terminal, version }) => {
  program.version(`holdfast ${version}`, "-V, --version", "show the version");
  program
    .command("version")
    .description("show the version")
    .helpGroup(CHAPTER.own)
    .action(() => terminal.out(`holdfast ${version}\n`));
};
