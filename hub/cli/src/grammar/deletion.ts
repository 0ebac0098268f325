/** `holdfast kept-data list`, `holdfast instance undelete`, `holdfast destroy-order sign|submit`: what can be typed. */
import { dryRun, duration, hub, timeout } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerDeletion: Registration = (program, typed) => {
  const { terminal } = typed;
  hub(noun(program, "kept-data").command("list"))
    .description("what agents keep of instances and resources that are no more")
    .option("--instance <instance>", "only of it: id, or a name that it has or had")
    .option("--cell <cell>", "only in it")
    .action(async (options) => {
      await (await import("../commands/kept-data.ts")).listKeptData(terminal, options);
    });
  hub(noun(program, "instance").command("undelete"))
    .description("take a deletion back: the same instance, with its data and seats")
    .argument("<instance>", "name or id; of those that are gone the one that went last")
    .addOption(dryRun())
    .option("--wait", "until it serves")
    .addOption(timeout())
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await import("../commands/undelete.ts")).undelete(terminal, instance, options);
    });
  const order = noun(program, "destroy-order");
  hub(order.command("sign"))
    .description("sign permission to destroy data, for ever, of one instance at its generation")
    .argument("<instance>", "name or id")
    .argument("[names...]", "as `kept-data list` shows them (default: all that is kept)")
    .requiredOption("--key <file>", "destroy key (PEM)")
    .requiredOption("--out <file>", "where the order goes; a file that is not there yet")
    .option("--ttl <duration>", "how long it is good, at most 30d (default 7d)", duration)
    .option("--yes", "do not ask")
    .action(async (instance, names, options) => {
      note(typed, "instance", instance);
      const { signOrder } = await import("../commands/destroy-order.ts");
      await signOrder(terminal, instance, names, options);
    });
  hub(order.command("submit"))
    .description("hand a signed order to the instance's agent, which judges it")
    .argument("<file>", "as sign wrote it")
    .option("--wait", "until the agent has answered")
    .addOption(timeout())
    .action(async (file, options) => {
      await (await import("../commands/destroy-order.ts")).submitOrder(terminal, file, options);
    });
};
