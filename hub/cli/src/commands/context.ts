/** `holdfast context list|show|use|set|delete`: which hubs are known here, and which one is meant. */
import { resolve } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  type ContextFile,
  type ContextFlags,
  chooseContext,
  contextFiles,
  saveContext,
  writeContextFile,
} from "../contexts.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export async function listContexts(
  terminal: Terminal,
  { output = "table" }: Readonly<{ output?: OutputForm }>,
): Promise<void> {
  const files = await contextFiles(terminal);
  const current = files.find((file) => file.current !== undefined)?.current;
  const lines = files.flatMap(({ path, contexts }) =>
    contexts.map((context) => ({ ...context, path, isCurrent: context.name === current })),
  );
  const plain = lines.map(({ name, api, tenant, path, isCurrent }) => {
    return { name, api, tenant: tenant ?? "", path, current: isCurrent };
  });
  if (output === "json") terminal.out(jsonText({ contexts: plain }));
  else if (output === "yaml") terminal.out(await yamlText({ contexts: plain }));
  else if (output === "name") terminal.out(lines.map(({ name }) => `${name}\n`).join(""));
  else if (lines.length === 0) {
    terminal.err("no contexts\nnext: holdfast context set NAME --api https://HUB:7400\n");
  } else {
    const rows = plain.map(({ name, api, tenant, path, current: isCurrent }) => {
      return [isCurrent ? "*" : "", name, api, tenant || "-", path];
    });
    terminal.out(tableText(terminal, ["", "NAME", "API", "TENANT", "FILE"], rows));
  }
}

/** Changes the file that is asked first: the nearest one that knows the name. */
export async function useContext(terminal: Terminal, name: string): Promise<void> {
  const files = await contextFiles(terminal);
  const file = fileOf(files, name);
  await writeContextFile({ ...file, current: name });
  terminal.err(`context ${name} is current (${file.path})\n`);
  const over = files.find((each) => each.current !== undefined);
  if (over !== undefined && over.path !== file.path) {
    terminal.err(`warning: in this directory ${over.path} goes before it; use --context ${name}\n`);
  }
}

export async function setContext(
  terminal: Terminal,
  name: string,
  flags: ContextFlags,
): Promise<void> {
  const api = flags.api;
  if (api === undefined) throw new Fault("INVALID_ARGUMENT", "USAGE", "--api URL is required");
  const absolute = (path: string | undefined) =>
    path === undefined ? undefined : resolve(terminal.workingDirectory, path);
  const path = await saveContext(terminal, {
    name,
    api,
    caFile: absolute(flags.caFile),
    tokenFile: absolute(flags.tokenFile),
    tenant: flags.tenant,
  });
  terminal.err(`context ${name} is in ${path}\n`);
}

/** Never the token, only where it is. */
export async function showContext(
  terminal: Terminal,
  name: string | undefined,
  { output = "table" }: Readonly<{ output?: OutputForm }>,
): Promise<void> {
  const { caFile, tokenFile, tenant, ...rest } = await chooseContext(terminal, { context: name });
  const { path } = fileOf(await contextFiles(terminal), rest.name);
  const view = {
    ...rest,
    ...(tenant !== undefined && { tenant }),
    ...(caFile !== undefined && { ca_file: caFile }),
    ...(tokenFile !== undefined && { token_file: tokenFile }),
    file: path,
  };
  if (output === "json") terminal.out(jsonText(view));
  else if (output === "yaml") terminal.out(await yamlText(view));
  else if (output === "name") terminal.out(`${view.name}\n`);
  else {
    const lines = Object.entries(view).map(([key, value]) => `${key.padEnd(10)}  ${value}\n`);
    terminal.out(lines.join(""));
  }
}

/** Without a current one afterwards if it was that. */
export async function deleteContext(terminal: Terminal, name: string): Promise<void> {
  const file = fileOf(await contextFiles(terminal), name);
  const contexts = file.contexts.filter((each) => each.name !== name);
  const isCurrent = file.current === name;
  await writeContextFile({ ...file, contexts, current: isCurrent ? undefined : file.current });
  terminal.err(`context ${name} is no longer in ${file.path}\n`);
  if (isCurrent) terminal.err("no context is current there now\nnext: holdfast context list\n");
}

/** The nearest file that knows the name. Throws NOT_FOUND `CONTEXT_UNKNOWN`. */
function fileOf(files: readonly ContextFile[], name: string): ContextFile {
  const file = files.find(({ contexts }) => contexts.some((each) => each.name === name));
  if (file !== undefined) return file;
  const known = files.flatMap(({ contexts }) => contexts.map((each) => each.name));
  const message = `no context ${shown(name)}; known: ${known.map(shown).join(", ") || "none"}`;
  const next = "holdfast context list";
  throw new Fault("NOT_FOUND", "CONTEXT_UNKNOWN", message, { next });
}
