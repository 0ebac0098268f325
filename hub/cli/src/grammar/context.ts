/** `holdfast context list|show|use|set|delete`: what can be typed. */
import { outputForm } from "./options.ts";
import { noun, type Registration } from "./registration.ts";

export const registerContext: Registration = (program, { terminal }) => {
  const context = noun(program, "context");
  context
    .command("list")
    .description("show the known contexts")
    .addOption(outputForm())
    .action(async (options) => {
      await (await import("../commands/context.ts")).listContexts(terminal, options);
    });
  context
    .command("show")
    .description("the context that commands use now, or a named one; never its token")
    .argument("[name]")
    .addOption(outputForm())
    .action(async (name, options) => {
      await (await import("../commands/context.ts")).showContext(terminal, name, options);
    });
  context
    .command("delete")
    .description("forget a context; its token file stays")
    .argument("<name>")
    .action(async (name) => {
      await (await import("../commands/context.ts")).deleteContext(terminal, name);
    });
  context
    .command("use")
    .description("make a context the current one")
    .argument("<name>")
    .action(async (name) => {
      await (await import("../commands/context.ts")).useContext(terminal, name);
    });
  context
    .command("set")
    .description("add or replace a context in your own file")
    .argument("<name>")
    .requiredOption("--api <url>", "https://HOST:PORT of the hub")
    .option("--ca-file <file>", "the hub's root certificate")
    .option("--token-file <file>", "your token")
    .option("--tenant <name>", "the tenant that commands are about")
    .action(async (name, options) => {
      await (await import("../commands/context.ts")).setContext(terminal, name, options);
    });
};
