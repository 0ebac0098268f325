/** `holdfast explain`: what can be typed. */
import { outputForm } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerExplain: Registration = (program, { terminal }) => {
  program
    .command("explain")
    .description("what a field of a kind means (instance.spec.release), or: explain error REASON")
    .helpGroup(CHAPTER.asking)
    .argument("<what>", "KIND, KIND.FIELD, or error")
    .argument("[reason]", "reason of a failure; all of them without one")
    .addOption(outputForm())
    .action(async (what, reason, options) => {
      await (await import("../commands/explain.ts")).explain(terminal, what, reason, options);
    });
};
