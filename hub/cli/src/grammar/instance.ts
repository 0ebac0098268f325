/** `holdfast instance start|stop|resize|why|output`: what can be typed. */
import type { Command } from "commander";
import { collect, count, dryRun, hub, timeout } from "./options.ts";
import { note, noun, type Registration, type Typed } from "./registration.ts";

export const registerInstance: Registration = (program, typed) => {
  const instance = noun(program, "instance");
  hub(instance.command("why"))
    .description("is what is wanted deployed; if not, what is it waiting for")
    .argument("<instance>", "name or id")
    .action(async (name, options) => {
      note(typed, "instance", name);
      await (await import("../commands/why.ts")).why(typed.terminal, name, options);
    });
  hub(instance.command("output"))
    .description("what the steps of an attempt said: jobs, downloads, what does not get ready")
    .argument("<instance>", "name or id")
    .option("--attempt <id>", "one of the last five (default: the newest; see: describe)", count)
    .option("--step <id>", "a step such as worker/start, or a resource")
    .option("--last-action", "of the last restart or run-job rather than of an attempt")
    .option("-f, --follow", "go on until the attempt has ended")
    .action(async (name, options) => {
      note(typed, "instance", name);
      await (await import("../commands/output.ts")).output(typed.terminal, name, options);
    });
  change(instance.command("start"), typed, "run it", async (name, options) => {
    await (await import("../commands/instance.ts")).start(typed.terminal, name, options);
  });
  change(
    instance.command("stop"),
    typed,
    "end its processes; its data stays",
    async (name, options) => {
      await (await import("../commands/instance.ts")).stop(typed.terminal, name, options);
    },
  );
  change(
    instance.command("resize"),
    typed,
    "change parameters or the plan",
    async (name, options) => {
      await (await import("../commands/instance.ts")).resize(typed.terminal, name, options);
    },
  )
    .option("--set <parameter=value>", "a parameter; JSON or text; may be repeated", collect)
    .option("--plan <plan>", "another plan of the product");
};

function change(
  command: Command,
  typed: Typed,
  description: string,
  run: (name: string, options: object) => Promise<void>,
): Command {
  return hub(command)
    .description(description)
    .argument("<instance>", "name or id")
    .addOption(dryRun())
    .option("--wait", "until it is so")
    .addOption(timeout())
    .action(async (name, options) => {
      note(typed, "instance", name);
      await run(name, options);
    });
}
