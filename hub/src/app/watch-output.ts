/**
 * What the steps of an attempt said, asked of the agent while somebody looks. That it was asked is an event, committed
 * before the agent hears of it; of what is said nothing is stored here.
 */
import { create } from "@bufbuild/protobuf";
import {
  type WatchOutputRequest,
  type WatchOutputResponse,
  WatchOutputResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import {
  type OutputAnswer,
  type OutputPart,
  ShowOutputSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { Fault, type FaultCode } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { escapeControls, escapeLine } from "@holdfast/shared/text.ts";
import { INSTANCES } from "../store/object-tables.ts";
import type { ObjectRow } from "../store/objects.ts";
import * as presence from "../store/presence.ts";
import { type Tx, withContext } from "../store/tx.ts";
import * as visible from "../store/visible.ts";
import { type Call, principalOf } from "./caller.ts";
import { type AppDeps, contextOf, newId } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { read } from "./mutation.ts";
import type { OutputView } from "./output-views.ts";
import { pageToken, readPageToken } from "./page.ts";
import { resolve, tenantIdOf } from "./reference.ts";
import { unreachable } from "./unreachable.ts";

/** Who may see what is looked at again this often. */
const LOOK_AGAIN_MS = 15_000;
/** As agents of ours bound them; of others more is cut. */
const LINES_MAX = 1_000;
const LINE_CHARS_MAX = 16_384;
const MESSAGE_CHARS_MAX = 2_000;

/** Refusals of an agent that callers may act on, with their code. */
const REFUSALS: Readonly<Record<string, FaultCode>> = {
  OUTPUT_STAYS_HERE: "PERMISSION_DENIED",
  ATTEMPT_UNKNOWN: "NOT_FOUND",
  STEP_UNKNOWN: "NOT_FOUND",
  PAGE_TOKEN_INVALID: "INVALID_ARGUMENT",
  OUTPUT_VIEWS_TOO_MANY: "RESOURCE_EXHAUSTED",
};

/** Ends with the attempt if it follows, when the caller goes, or when the caller may no longer see the instance. */
export async function* watchOutput(
  deps: AppDeps,
  call: Call,
  request: WatchOutputRequest,
): AsyncGenerator<WatchOutputResponse> {
  const { instance, tenant, attempt, step, lastAction, follow } = request;
  const binding = { call, query: ["output", instance, tenant, `${attempt}`, step, lastAction] };
  const position = readPageToken(deps.pageKey, binding, request.pageToken) ?? "";
  const { row, cellId } = await asked(deps, call, request);
  const show = create(ShowOutputSchema, {
    ...{ id: newId(deps.clock), instanceId: idOf("instance", row.id), attempt, step, lastAction },
    ...{ follow, position: String(position), principal: principalOf(call.caller) },
  });
  const { vendorId } = call.caller;
  const view = deps.outputViews.open({ vendorId, cellId }, show, call.signal);
  if (view === undefined) throw await away(deps, call, cellId);
  try {
    await begun(view, call.signal, row.name);
    for await (const part of parts(deps, call, request, view)) {
      yield responseOf(part, pageToken(deps.pageKey, binding, part.position));
      if (part.last) return;
    }
    if (!call.signal.aborted) throw await away(deps, call, cellId);
  } finally {
    view.leave();
  }
}

async function asked(deps: AppDeps, call: Call, request: WatchOutputRequest) {
  const { attempt, step, lastAction, follow } = request;
  return await withContext(deps.database, contextOf(call), async (tx) => {
    const row = await instanceOf(tx, request);
    await record(tx, actorOf(call), deps.clock.now(), {
      verb: "output_asked",
      kind: "instance",
      subject: row,
      reason: aboutText(request),
      after: { attempt: `${attempt}`, step, lastAction, follow },
    });
    return { row, cellId: String(row.fields["cell_id"]) };
  });
}

/** As `holdfast events` shows it. */
function aboutText({ attempt, step, lastAction }: WatchOutputRequest): string {
  const which = attempt === 0n ? "newest attempt" : `attempt ${attempt}`;
  return [lastAction ? "last action" : which, ...(step === "" ? [] : [step])].join(", ");
}

/** A pooled instance is the vendor's own row, so no tenant ever gets to it. */
async function instanceOf(tx: Tx, request: WatchOutputRequest): Promise<ObjectRow> {
  const tenantId = await tenantIdOf(tx, request.tenant, "tenant");
  const text = request.instance;
  const reference = { kind: "instance", table: INSTANCES, text, path: "instance" } as const;
  return await resolve(tx, { ...reference, tenantId });
}

async function away(deps: AppDeps, call: Call, cellId: string): Promise<Fault> {
  return await read(deps, call, async (tx) => {
    const agent = (await presence.ofCells(tx, [cellId])).get(cellId);
    const name = (await visible.names(tx, "cell", [cellId])).get(cellId) ?? "";
    return unreachable(name, agent, "the output of steps is kept there and");
  });
}

async function begun(view: OutputView, signal: AbortSignal, instance: string): Promise<void> {
  const answer = await view.answered();
  if (answer !== undefined && answer.reason !== "") throw refusalOf(answer, instance);
  if (answer !== undefined || signal.aborted) return;
  const message = "the agent's link broke before it answered; try again";
  throw new Fault("UNAVAILABLE", "OUTPUT_SILENT", message);
}

function refusalOf({ reason, message }: OutputAnswer, instance: string): Fault {
  const code = Object.hasOwn(REFUSALS, reason) ? REFUSALS[reason] : undefined;
  const said = `the agent says: ${escapeControls(message).slice(0, MESSAGE_CHARS_MAX)}`;
  const next = code === "NOT_FOUND" ? { next: `holdfast describe instance ${instance}` } : {};
  if (code !== undefined) return new Fault(code, reason, said, next);
  return new Fault("FAILED_PRECONDITION", "OUTPUT_REFUSED", said);
}

async function* parts(
  deps: AppDeps,
  call: Call,
  request: WatchOutputRequest,
  view: OutputView,
): AsyncGenerator<OutputPart> {
  const { clock } = deps;
  let lookedAt = clock.monotonic();
  for (let part = await view.next(); part !== undefined; part = await view.next()) {
    if (clock.monotonic() - lookedAt >= LOOK_AGAIN_MS) {
      await read(deps, call, (tx) => instanceOf(tx, request));
      lookedAt = clock.monotonic();
    }
    yield part;
  }
}

function responseOf({ attempt, lines, lost, ended }: OutputPart, token: string) {
  const told = lines.slice(0, LINES_MAX).map(({ text, step, copy, ...line }) => ({
    ...line,
    // The agent has escaped it, if it is an agent of ours.
    text: escapeLine(text).slice(0, LINE_CHARS_MAX),
    step: escapeControls(step).slice(0, MESSAGE_CHARS_MAX),
    copy: escapeControls(copy).slice(0, MESSAGE_CHARS_MAX),
  }));
  const values = { attempt, lines: told, lost, ended, pageToken: token };
  return create(WatchOutputResponseSchema, values);
}
