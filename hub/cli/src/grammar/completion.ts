/** `holdfast completion` and what its scripts call: what can be typed. */
import { Argument } from "commander";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerCompletion: Registration = (program, { terminal }) => {
  program
    .command("completion")
    .description("the completion script of a shell, such as: source <(holdfast completion bash)")
    .helpGroup(CHAPTER.own)
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .action(async (shell) => {
      (await import("../commands/completion.ts")).completion(terminal, shell);
    });
  program
    .command("__complete [words...]", { hidden: true })
    .allowUnknownOption()
    .action(async (words: string[]) => {
      await (await import("../commands/completion.ts")).complete(terminal, program, words);
    });
};
