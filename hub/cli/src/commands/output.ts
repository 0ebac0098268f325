/** `holdfast instance output`: what the steps of one of the last attempts said, asked of the agent now. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import {
  InstanceService,
  type WatchOutputResponse,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { OutputLineSchema } from "@holdfast/proto/holdfast/model/v1/output_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { follow, isPassing, OVER } from "../follow.ts";
import type { HubClient } from "../hub-client.ts";
import { goneText, lineText } from "../log-lines.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type OutputOptions = HubOptions &
  Readonly<{ attempt?: number; step?: string; lastAction?: boolean; follow?: boolean }>;

type Request = Readonly<{
  instance: string;
  tenant: string;
  attempt: bigint;
  step: string;
  lastAction: boolean;
}>;

export async function output(
  terminal: Terminal,
  name: string,
  options: OutputOptions,
): Promise<void> {
  checkOptions(options);
  const { attempt = 0, step = "", lastAction = false } = options;
  await withHub(terminal, options, async (hub) => {
    const tenant = hub.context.tenant ?? "";
    const about = { instance: name, tenant, attempt: BigInt(attempt), step, lastAction };
    if (options.follow !== true) return await look(terminal, hub, about, options);
    const isOver = await followOutput(terminal, hub, about, options);
    if (isOver) return;
    const message = "the output is no longer followed";
    throw new Fault("CANCELLED", "INTERRUPTED", message, {
      next: `holdfast instance output ${name}`,
    });
  });
}

function checkOptions({ output: form, attempt, lastAction }: OutputOptions): void {
  const refuse = (message: string) => new Fault("INVALID_ARGUMENT", "USAGE", message);
  if (form === "name") throw refuse("--output: got name; allowed: table, json or yaml");
  if (attempt !== undefined && lastAction === true) {
    throw refuse("--attempt and --last-action: an action is no attempt; give one of them");
  }
}

async function look(
  terminal: Terminal,
  hub: HubClient,
  about: Request,
  { output: form }: OutputOptions,
): Promise<void> {
  const client = hub.client(InstanceService);
  const answers: WatchOutputResponse[] = [];
  await hub.call(async () => {
    for await (const answer of client.watchOutput(about)) {
      answers.push(answer);
      if (form === undefined || form === "table") printLines(terminal, answer);
    }
  });
  const { attempt = 0n, ended = false } = answers.at(-1) ?? {};
  const lines = answers.flatMap((answer) => answer.lines);
  const lost = answers.reduce((sum, answer) => sum + answer.lost, 0n);
  if (form === "json" || form === "yaml") {
    const view = { ...viewOf({ attempt, lost }), ended, lines: lines.map(lineView) };
    terminal.out(form === "json" ? jsonText(view) : await yamlText(view));
    return;
  }
  if (lines.length === 0 && lost === 0n) terminal.err("no lines\n");
  if (!ended) terminal.err("it goes on; -f stays with it\n");
}

/** False: interrupted. */
async function followOutput(
  terminal: Terminal,
  hub: HubClient,
  about: Request,
  { output: form }: OutputOptions,
): Promise<boolean> {
  const client = hub.client(InstanceService);
  let isOver = false;
  await follow(
    terminal,
    hub,
    "",
    (pageToken, options) => client.watchOutput({ ...about, follow: true, pageToken }, options),
    async (answer) => {
      if (form === undefined || form === "table") printLines(terminal, answer);
      else await printViews(terminal, answer, form);
      isOver = answer.ended;
      return isOver ? OVER : undefined;
    },
    // What cannot be had at all is said at once; what broke is gone on with.
    (error, token) => token !== "" && isPassing(error),
  );
  return isOver;
}

function printLines(terminal: Terminal, { lines, lost }: WatchOutputResponse): void {
  if (lost > 0n) terminal.err(goneText(lost));
  terminal.out(lines.map(({ step, ...line }) => lineText({ ...line, resource: step })).join(""));
}

/** One object in a line, or in a document. */
async function printViews(
  terminal: Terminal,
  { attempt, lines, lost }: WatchOutputResponse,
  form: string,
): Promise<void> {
  const views = [...(lost > 0n ? [viewOf({ attempt, lost })] : []), ...lines.map(lineView)];
  for (const view of views) {
    terminal.out(form === "json" ? `${JSON.stringify(view)}\n` : `${await yamlText(view)}---\n`);
  }
}

function lineView(line: WatchOutputResponse["lines"][number]): JsonObject {
  return toJson(OutputLineSchema, line) as JsonObject;
}

function viewOf({ attempt, lost }: Pick<WatchOutputResponse, "attempt" | "lost">): JsonObject {
  return { attempt: attempt.toString(), lost: lost.toString() };
}
