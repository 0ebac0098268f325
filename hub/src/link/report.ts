/**
 * The reporting stream's handler: Open, then batches that are ingested one after the other, and telemetry that is
 * kept beside them. What an agent has in flight waits in the connection's window, not here.
 */

import { create } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import {
  type ReportRequest,
  type ReportResponse,
  ReportResponseSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { SignedBatch } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { VerifiedAgent } from "../pki/agent-certificate.ts";
import { identityMismatch } from "./control.ts";
import { written } from "./grpc-status.ts";
import { type Incoming, incoming, type Next } from "./incoming.ts";
import { type LinkTiming, TELEMETRY_IN_FLIGHT_MAX } from "./limits.ts";
import type { AgentSession, Expelled, LinkHub } from "./port.ts";
import { TelemetryIntake } from "./telemetry.ts";
import type { LinkWatch } from "./watch.ts";

export type ReportCall = ServerDuplexStream<ReportRequest, ReportResponse>;

export type ReportDeps = Readonly<{
  hub: LinkHub;
  clock: Clock;
  log: Log;
  timing: LinkTiming;
  watch: Pick<LinkWatch, "telemetryEnded">;
  callerOf: (call: ReportCall) => VerifiedAgent;
  /** The stream of each agent; a newer one replaces the older. */
  reports: Map<string, ReportStream>;
}>;

/** One that is open, and how to end it. */
export type ReportStream = Readonly<{ caller: VerifiedAgent; end(fault: Fault): void }>;

/** Ends those of agents that are no longer welcome; a fenced one opens another, to deliver what it still has. */
export function expelReports(
  streams: Iterable<ReportStream>,
  { vendorId, cellId, below, fault }: Expelled,
): void {
  for (const { caller, end } of streams) {
    const isOfCell = caller.vendorId === vendorId && caller.cellId === cellId;
    if (isOfCell && (below === undefined || caller.fencing < below)) end(fault);
  }
}

function replaced(): Fault {
  const message = "a newer reporting stream of this agent took its place";
  return new Fault("ABORTED", "SESSION_REPLACED", message);
}

export async function report(call: ReportCall, deps: ReportDeps): Promise<void> {
  const caller = deps.callerOf(call);
  const stop = new AbortController();
  call.once("close", () => stop.abort(replaced()));
  const ended = new Promise<never>((_, reject) => {
    stop.signal.addEventListener("abort", () => reject(stop.signal.reason));
  });
  const stream = { caller, end: (fault: Fault) => stop.abort(fault) };
  deps.reports.get(caller.agentId)?.end(replaced());
  deps.reports.set(caller.agentId, stream);
  try {
    const messages = incoming<ReportRequest>(call);
    const taken = takerOf(messages, call, caller, deps, stop.signal).then((taker) =>
      messages.each((message) => take(message, taker)),
    );
    await Promise.race([ended, taken]);
  } finally {
    if (deps.reports.get(caller.agentId) === stream) deps.reports.delete(caller.agentId);
    stop.abort(replaced());
  }
}

async function takerOf(
  messages: Incoming<ReportRequest>,
  call: ReportCall,
  caller: VerifiedAgent,
  deps: ReportDeps,
  ended: AbortSignal,
): Promise<Taker> {
  const tell = (message: ReportResponse["message"]) => answer(call, message, ended);
  const session = await opened(messages, caller, deps, tell);
  const telemetry = new TelemetryIntake({
    ...{ hub: deps.hub, session, clock: deps.clock, log: deps.log, watch: deps.watch },
    answer: (value) => tell({ case: "telemetryAck", value }),
  });
  return { deps, caller, session, telemetry, tell, ended };
}

type Tell = (message: ReportResponse["message"]) => Promise<void>;

async function opened(
  messages: Incoming<ReportRequest>,
  caller: VerifiedAgent,
  deps: ReportDeps,
  tell: Tell,
): Promise<AgentSession> {
  const { message } = await messages.first(deps.timing.firstMessageMs, deps.clock);
  if (message.case !== "open") {
    throw new Fault("INVALID_ARGUMENT", "OPEN_MISSING", "the first message must be an open");
  }
  const session = await deps.hub.admit(caller, undefined);
  for (const page of await deps.hub.openStream(session, message.value)) {
    const value = { ...page, telemetryInFlightMax: TELEMETRY_IN_FLIGHT_MAX };
    await tell({ case: "opened", value });
  }
  return session;
}

type Taker = Readonly<{
  deps: ReportDeps;
  caller: VerifiedAgent;
  session: AgentSession;
  telemetry: TelemetryIntake;
  tell: Tell;
  ended: AbortSignal;
}>;

async function take({ message }: ReportRequest, taker: Taker): Promise<Next> {
  if (taker.ended.aborted) return "end";
  if (message.case === "telemetry") {
    taker.telemetry.take(message.value);
    return "go on";
  }
  if (message.case === "batch") return await takeBatch(message.value, taker);
  const text = "only batches and telemetry follow an open";
  throw new Fault("INVALID_ARGUMENT", "MESSAGE_UNEXPECTED", text);
}

/** A stream that was fenced has no more to say. */
async function takeBatch(
  batch: SignedBatch,
  { deps, caller, session, tell }: Taker,
): Promise<Next> {
  const agentId = agentIdOf(batch.batch);
  const proven = idOf("agent", caller.agentId);
  if (agentId !== proven) throw await identityMismatch(deps, caller, shown(agentId), proven);
  const result = await deps.hub.ingest(session, batch);
  const isFenced = result.$typeName === "holdfast.link.v1.Fenced";
  await tell(isFenced ? { case: "fenced", value: result } : { case: "ack", value: result });
  return isFenced ? "end" : "go on";
}

function answer(
  call: ReportCall,
  message: ReportResponse["message"],
  ended: AbortSignal,
): Promise<void> {
  return written(call, create(ReportResponseSchema, { message }), ended);
}

/** Number of Batch.agent_id. */
const AGENT_ID_FIELD = 1;

/**
 * The agent that a batch names, without decoding its records: the use case decodes them once. The last
 * occurrence counts, as in any protobuf reader.
 */
function agentIdOf(batch: Uint8Array): string {
  try {
    const reader = new BinaryReader(batch);
    let agentId = "";
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === AGENT_ID_FIELD) agentId = reader.string();
      else reader.skip(wireType, field);
    }
    return agentId;
  } catch (error) {
    throw new Fault("INVALID_ARGUMENT", "BATCH_MALFORMED", "batch: its bytes cannot be read", {
      cause: error,
    });
  }
}
