/** `holdfast secret set|list`: what can be typed. A value is never among it, but people try. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Command } from "commander";
import { dryRun, hub, timeout } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerSecret: Registration = (program, typed) => {
  const secret = noun(program, "secret");
  hub(secret.command("set"))
    .description("seal a value to the instance's agent and let the instance use it")
    .argument("<instance>", "name or id")
    .argument("<name>", "of the secret, as the release declares it")
    .option("--from-file <file>", "the value (default: standard input)")
    .option(
      "--agent-fingerprint <sha256:…>",
      "seal only to this agent, as `holdfast-agent status` shows it on its host",
    )
    .addOption(dryRun())
    .option("--wait", "until the instance serves with it")
    .addOption(timeout())
    // Told apart from other words too many, so that the message can say why and does not repeat it.
    .allowExcessArguments(true)
    .action(async (instance: string, name: string, options, command: Command) => {
      note(typed, "instance", instance);
      if (command.args.length > 2 || name.includes("=")) throw inArgument();
      const { setSecret } = await import("../commands/secret.ts");
      await setSecret(typed.terminal, instance, name, options);
    });
  hub(secret.command("list"))
    .description("the secrets of an instance and where each comes from; never a value")
    .argument("<instance>", "name or id")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await import("../commands/secret.ts")).listSecrets(typed.terminal, instance, options);
    });
};

function inArgument(): Fault {
  return new Fault(
    "INVALID_ARGUMENT",
    "SECRET_IN_ARGUMENT",
    "the value: use a file or stdin; arguments are visible to other users",
    { next: "holdfast secret set INSTANCE NAME --from-file FILE" },
  );
}
