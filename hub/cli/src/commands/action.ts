/**
 * `holdfast instance restart|run-job`, `holdfast drift revert|adopt`, `holdfast action list|show|retry`: one-off orders
 * to an instance's agent. With --wait the exit code says how it ended: 0 done, 6 not in time, 9 held or vetoed by the
 * customer's rules.
 */
import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionSchema,
  ActionService,
  ActionStatus,
  type CreateActionRequestSchema,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { REASON } from "../exit-codes.ts";
import { agoText, enumWord, textAt } from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import type { ObjectView } from "../object-calls.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { type Cell, tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT } from "../wait.ts";

const POLL_MS = 250;
const LIMIT_DEFAULT = 50;

export type OrderOptions = HubOptions &
  Readonly<{ resource?: string; ttl?: number; wait?: boolean; timeout?: number }>;

export function restart(terminal: Terminal, instance: string, options: OrderOptions) {
  return order(terminal, ActionKind.RESTART, instance, options);
}

export function runJob(
  terminal: Terminal,
  instance: string,
  resource: string,
  options: OrderOptions,
) {
  return order(terminal, ActionKind.RUN_JOB, instance, { ...options, resource });
}

export function retry(terminal: Terminal, instance: string, options: OrderOptions) {
  return order(terminal, ActionKind.RETRY, instance, options);
}

export function revertDrift(terminal: Terminal, instance: string, options: OrderOptions) {
  return order(terminal, ActionKind.REVERT_DRIFT, instance, options);
}

export function adoptDrift(terminal: Terminal, instance: string, options: OrderOptions) {
  return order(terminal, ActionKind.ADOPT_DRIFT, instance, options);
}

async function order(
  terminal: Terminal,
  kind: ActionKind,
  instance: string,
  { resource = "", ttl, ...options }: OrderOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const asked = { instance, kind, resource, tenant: hub.context.tenant ?? "" };
    const within = ttl === undefined ? {} : { ttl: durationFromMs(ttl) };
    await createAndWait(terminal, hub, { ...asked, ...within }, options);
  });
}

/** Prints it as it is then. With `wait` throws unless it was done. */
export async function createAndWait(
  terminal: Terminal,
  hub: HubClient,
  asked: MessageInitShape<typeof CreateActionRequestSchema>,
  options: Pick<OrderOptions, "wait" | "timeout" | "output">,
): Promise<void> {
  const { action } = await hub.call(() =>
    hub.client(ActionService).createAction({ ...asked, requestId: terminal.randomUuid() }),
  );
  const made = present(action);
  const last = options.wait === true ? await ended(terminal, hub, made, options) : made;
  await print(terminal, last, options.output ?? "table");
  if (options.wait === true) refuseUndone(last);
}

/** Through outages of the hub as well. Throws `WAIT_TIMEOUT` with what holds it. */
async function ended(
  terminal: Terminal,
  hub: HubClient,
  { id }: Action,
  { timeout: timeoutMs = WAIT_MS_DEFAULT }: OrderOptions,
): Promise<Action> {
  const { clock, signal } = terminal;
  const deadline = clock.monotonic() + timeoutMs;
  let why = "the agent has not been given it";
  for (;;) {
    const now = await get(hub, id).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== "UNAVAILABLE") throw error;
      return undefined;
    });
    if (now !== undefined && now.status > ActionStatus.SENT) return now;
    if (now?.status === ActionStatus.SENT) why = now.message || "the agent has not answered";
    if (signal.aborted) {
      throw new Fault("CANCELLED", "INTERRUPTED", `action ${id}: interrupted while waiting`);
    }
    if (clock.monotonic() >= deadline) {
      const message = `action ${id}: not ended within ${timeoutMs / 1_000} s; last: ${why}`;
      const next = `holdfast action show ${id}`;
      throw new Fault("DEADLINE_EXCEEDED", REASON.waitTimeout, message, { next });
    }
    await clock.sleep(POLL_MS, signal);
  }
}

function refuseUndone({ id, status, reason, message }: Action): void {
  if (status === ActionStatus.DONE) return;
  const next = `holdfast action show ${id}`;
  const isRule = reason === "CONSENT_VETOED";
  const text = `action ${id}: ${wordOf(status)}: ${message}`;
  throw new Fault("FAILED_PRECONDITION", isRule ? REASON.held : reason, text, { next });
}

export async function show(terminal: Terminal, id: string, options: HubOptions): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    await print(terminal, await get(hub, id), options.output ?? "table");
  });
}

export type ListOptions = HubOptions & Readonly<{ limit?: number }>;

export async function list(
  terminal: Terminal,
  instance: string | undefined,
  options: ListOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const count = options.limit ?? LIMIT_DEFAULT;
    const found: Action[] = [];
    for (let pageToken = ""; found.length < count; ) {
      const query = { instance: instance ?? "", tenant: hub.context.tenant ?? "", pageToken };
      const page = await hub.call(() =>
        hub.client(ActionService).listActions({ ...query, pageSize: count - found.length }),
      );
      found.push(...page.actions);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    await printAll(terminal, found, options.output ?? "table");
  });
}

async function get(hub: HubClient, id: string): Promise<Action> {
  const { action } = await hub.call(() => hub.client(ActionService).getAction({ action: id }));
  return present(action);
}

function present(action: Action | undefined): Action {
  if (action !== undefined) return action;
  throw new Fault("INTERNAL", "ANSWER_EMPTY", "the hub answered without an action");
}

async function print(terminal: Terminal, action: Action, form: OutputForm): Promise<void> {
  const view = viewOf(action);
  if (form === "json") terminal.out(jsonText(view));
  else if (form === "yaml") terminal.out(await yamlText(view));
  else await printAll(terminal, [action], form);
}

async function printAll(
  terminal: Terminal,
  actions: readonly Action[],
  form: OutputForm,
): Promise<void> {
  const views = actions.map(viewOf);
  if (form === "json") terminal.out(jsonText({ actions: views }));
  else if (form === "yaml") terminal.out((await Promise.all(views.map(yamlText))).join("---\n"));
  else if (form === "name") terminal.out(actions.map(({ id }) => `action/${id}\n`).join(""));
  else if (actions.length === 0) terminal.err("no actions\n");
  else {
    const header = ["ID", "INSTANCE", "TENANT", "KIND", "RESOURCE", "STATUS", "ASKED", "BY", "WHY"];
    const now = terminal.clock.now();
    terminal.out(
      tableText(
        terminal,
        header,
        views.map((view) => row(view, now)),
      ),
    );
  }
}

const TONES = { done: "good", failed: "bad", refused: "bad", expired: "bad" } as const;

function row(view: ObjectView, now: number): readonly Cell[] {
  const status = enumWord(textAt(view, "status"), "ACTION_STATUS_");
  const tone = status in TONES ? TONES[status as keyof typeof TONES] : "unsure";
  const [reason, message] = [textAt(view, "reason"), textAt(view, "message")];
  return [
    ...["id", "instance", "tenant"].map((field) => textAt(view, field)),
    enumWord(textAt(view, "kind"), "ACTION_KIND_"),
    textAt(view, "resource"),
    { text: status, tone },
    agoText(view["createTime"], now),
    textAt(view, "principal"),
    status === "done" || reason === "-" ? message : `${reason}: ${message}`,
  ];
}

function viewOf(action: Action): ObjectView {
  return toJson(ActionSchema, action) as ObjectView;
}

function wordOf(status: ActionStatus): string {
  return (ActionStatus[status] ?? "").toLowerCase();
}
