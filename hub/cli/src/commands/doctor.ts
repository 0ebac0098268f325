/** `holdfast doctor`: from the context to the agents, what works and what does not, each with what to do about it. */
import { stat } from "node:fs/promises";
import { AgentService } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { type GetHubResponse, HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { asFault, type Fault } from "@holdfast/shared/fault.ts";
import { type Context, chooseContext, contextFiles } from "../contexts.ts";
import { failureText } from "../failure.ts";
import type { HubClient } from "../hub-client.ts";
import { jsonText, yamlText } from "../output.ts";
import type { HubOptions } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

/** The same as between hub and database. */
const CLOCK_SKEW_MS_MAX = 5_000;
const AGENTS_READ_MAX = 500;

type Finding = Readonly<{ check: string; isOk: boolean; message: string; next?: string }>;
type Check = () => Promise<string>;

/** True if all is well. */
export async function doctor(
  terminal: Terminal,
  version: string,
  options: HubOptions,
): Promise<boolean> {
  const findings: Finding[] = [];
  const examine = async (check: string, look: Check) => {
    const finding = await found(check, look);
    findings.push(finding);
    return finding.isOk;
  };
  let context: Context | undefined;
  const isChosen = await examine("context", async () => {
    context = await chooseContext(terminal, options);
    return `${context.name || "given by options"}: ${context.api}`;
  });
  if (isChosen && context !== undefined) {
    await examine("files", () => privateFiles(terminal, context as Context));
    await examineHub(terminal, version, context, examine);
  }
  await print(terminal, findings, options);
  return findings.every(({ isOk }) => isOk);
}

async function examineHub(
  terminal: Terminal,
  version: string,
  context: Context,
  examine: (check: string, look: Check) => Promise<boolean>,
): Promise<void> {
  const { openHub } = await import("../hub-client.ts");
  let hub: HubClient | undefined;
  try {
    let about: GetHubResponse | undefined;
    const isThere = await examine("hub", async () => {
      const opened = await openHub(terminal, context);
      hub = opened;
      about = await opened.call(() => opened.client(HubService).getHub({}));
      return `${context.api} serves vendor ${about.vendor}`;
    });
    const opened = hub;
    if (!isThere || about === undefined || opened === undefined) return;
    const said = about;
    await examine("token", () => tokenOf(opened));
    await examine("versions", async () => versionsOf(version, said.version));
    await examine("clock", async () => clockOf(terminal, said));
    await examine("agents", () => agentsOf(opened, context));
  } finally {
    hub?.close();
  }
}

/** Throws with the command that closes the file. */
async function privateFiles(terminal: Terminal, context: Context): Promise<string> {
  const files = (await contextFiles(terminal)).map(({ path }) => path);
  const all = context.tokenFile === undefined ? files : [...files, context.tokenFile];
  for (const path of all) {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw new Trouble(`${path} has mode ${octal}: other users can read it`, `chmod 600 ${path}`);
    }
  }
  return `${all.length} files, for their owner only`;
}

async function tokenOf(hub: HubClient): Promise<string> {
  const answer = await hub.call(() => hub.client(MemberService).whoAmI({}));
  const may = answer.permissions.length;
  return `member/${answer.member?.metadata?.name} of ${answer.vendor}, ${may} permissions`;
}

/** Versions of one minor line know each other. */
function versionsOf(mine: string, theirs: string): string {
  const line = (version: string) => version.split(".").slice(0, 2).join(".");
  const text = `command line ${mine}, hub ${theirs}`;
  if (line(mine) === line(theirs)) return text;
  throw new Trouble(text, "install the command line of the hub's version");
}

function clockOf(terminal: Terminal, { time }: GetHubResponse): string {
  if (time === undefined) return "the hub does not tell its time";
  const theirs = Number(time.seconds) * 1_000 + time.nanos / 1_000_000;
  const off = Math.round(terminal.clock.now() - theirs);
  const text = `${Math.abs(off)} ms ${off < 0 ? "behind" : "ahead of"} the hub's`;
  if (Math.abs(off) <= CLOCK_SKEW_MS_MAX) return text;
  throw new Trouble(`${text}; allowed: ${CLOCK_SKEW_MS_MAX} ms`, "timedatectl status");
}

async function agentsOf(hub: HubClient, { tenant = "" }: Context): Promise<string> {
  const request = { tenant, pageSize: AGENTS_READ_MAX };
  const { agents, nextPageToken } = await hub.call(() =>
    hub.client(AgentService).listAgents(request),
  );
  const away = agents.filter(({ status }) => {
    return !status?.conditions.some((c) => c.type === "Connected" && c.status === "True");
  });
  const more = nextPageToken === "" ? "" : " of the first";
  if (away.length === 0) return `all${more} ${agents.length} connected`;
  const names = away.slice(0, 3).map(({ metadata }) => metadata?.name);
  const message = `${away.length} of ${agents.length} not connected: ${names.join(", ")}`;
  throw new Trouble(message, "holdfast get agents");
}

/** What is not well, with what to do; never leaves this file. */
class Trouble extends Error {
  readonly next: string;
  constructor(message: string, next: string) {
    super(message);
    this.next = next;
  }
}

async function found(check: string, look: Check): Promise<Finding> {
  try {
    return { check, isOk: true, message: await look() };
  } catch (error) {
    if (error instanceof Trouble) {
      return { check, isOk: false, message: error.message, next: error.next };
    }
    const fault: Fault = asFault(error, "the check itself failed");
    // The rule of every failure, so that both say the same.
    const next = /^next: (.*)$/m.exec(failureText(fault, { command: "doctor" }))?.[1];
    const message = `${fault.reason}: ${fault.message}`;
    return { check, isOk: false, message, ...(next !== undefined && { next }) };
  }
}

async function print(
  terminal: Terminal,
  findings: readonly Finding[],
  { output = "table" }: HubOptions,
): Promise<void> {
  const checks = findings.map(({ check, isOk, message, next = "" }) => {
    return { check, result: isOk ? "OK" : "FAIL", message, next };
  });
  if (output === "json") terminal.out(jsonText({ checks }));
  else if (output === "yaml") terminal.out(await yamlText({ checks }));
  else if (output === "name") {
    terminal.out(checks.map(({ check, result }) => `${check}/${result}\n`).join(""));
  } else {
    const rows = checks.map(({ check, result, message }) => {
      const tone = result === "OK" ? ("good" as const) : ("bad" as const);
      return [{ text: result, tone }, check, message];
    });
    terminal.out(tableText(terminal, ["", "CHECK", "FOUND"], rows));
    for (const { next } of checks) if (next !== "") terminal.err(`next: ${next}\n`);
  }
}
