/** `holdfast action` and `holdfast instance retry`, `restart`, `run-job`: what can be typed. */
import type { Command } from "commander";
import { count, duration, hub, timeout } from "./options.ts";
import { note, noun, type Registration } from "./registration.ts";

export const registerAction: Registration = (program, typed) => {
  const { terminal } = typed;
  const load = () => import("../commands/action.ts");
  const action = noun(program, "action");
  hub(action.command("list"))
    .description("what agents were asked to do once, newest first")
    .argument("[instance]", "name or id")
    .option("--limit <count>", "how many (default 50)", count)
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await load()).list(terminal, instance, options);
    });
  hub(action.command("show"))
    .description("one of them")
    .argument("<id>", "such as act_0198…")
    .action(async (id, options) => {
      await (await load()).show(terminal, id, options);
    });
  ordered(action.command("retry"))
    .description("let an attempt that failed and is held begin once more")
    .argument("<instance>", "name or id")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await load()).retry(terminal, instance, options);
    });
  ordered(noun(program, "instance").command("retry"))
    .description("let its attempt that failed and is held begin once more")
    .argument("<instance>", "name or id")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await load()).retry(terminal, instance, options);
    });
  ordered(noun(program, "instance").command("restart"))
    .description("another copy of each resource, or of one, at most once")
    .argument("<instance>", "name or id")
    .option("--resource <name>", "only this resource")
    .action(async (instance, options) => {
      note(typed, "instance", instance);
      await (await load()).restart(terminal, instance, options);
    });
  ordered(noun(program, "instance").command("run-job"))
    .description("run a job of its release once more, at most once")
    .argument("<instance>", "name or id")
    .argument("<job>", "its name in the release")
    .action(async (instance, job, options) => {
      note(typed, "instance", instance);
      await (await load()).runJob(terminal, instance, job, options);
    });
};

export function ordered(command: Command): Command {
  return hub(command)
    .option("--ttl <duration>", "how long it may be begun, 1s to 7d (default 10m)", duration)
    .option("--wait", "until it has ended; exit 5 if it failed, 6 if late, 9 if vetoed")
    .addOption(timeout());
}
