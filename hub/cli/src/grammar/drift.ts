/** `holdfast drift show|revert|adopt`: what can be typed. */
import { EXIT } from "../exit-codes.ts";
import { ordered } from "./action.ts";
import { hub } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerDrift: Registration = (program, typed) => {
  const { terminal, noted } = typed;
  const drift = noun(program, "drift");
  hub(drift.command("show"))
    .description("desired, last applied and live, side by side; exit 10 if anything differs")
    .argument("<instance>", "name or id")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      const differs = await (await import("../commands/drift.ts")).show(
        terminal,
        instance,
        options,
      );
      if (differs) noted.exit = EXIT.differences;
    });
  ordered(drift.command("revert"))
    .description("bring back what was applied, of all or of one resource, at most once")
    .argument("<instance>", "name or id")
    .option("--resource <name>", "only this resource")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await import("../commands/action.ts")).revertDrift(terminal, instance, options);
    });
  ordered(drift.command("adopt"))
    .description("accept what is there until it changes again or a release is deployed")
    .argument("<instance>", "name or id")
    .option("--resource <name>", "only this resource")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await import("../commands/action.ts")).adoptDrift(terminal, instance, options);
    });
};
