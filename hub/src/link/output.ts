/**
 * The stream by which an agent tells what steps said, one for each ShowOutput. It is read no faster than the viewer
 * takes it, and ended when the viewer goes; what is slow here is slow for this stream alone.
 */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type {
  TellOutputRequest,
  TellOutputResponse,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { VerifiedAgent } from "../pki/agent-certificate.ts";
import { activeAgent } from "./fetch.ts";
import { incoming, type Next } from "./incoming.ts";
import type { LinkTiming } from "./limits.ts";
import type { LinkHub, OutputTaker } from "./port.ts";
import type { ReportStream } from "./report.ts";

export type OutputCall = ServerDuplexStream<TellOutputRequest, TellOutputResponse>;

export type OutputDeps = Readonly<{
  hub: LinkHub;
  clock: Clock;
  timing: LinkTiming;
  callerOf: (call: OutputCall) => VerifiedAgent;
  /** Those that are open, to be ended when their agent is no longer welcome. */
  outputs: Map<OutputCall, ReportStream>;
}>;

export async function tellOutput(call: OutputCall, deps: OutputDeps): Promise<void> {
  const caller = deps.callerOf(call);
  const stop = new AbortController();
  const ended = new Promise<never>((_, reject) => {
    stop.signal.addEventListener("abort", () => reject(stop.signal.reason));
  });
  // It may end before anybody waits for it.
  ended.catch(() => undefined);
  deps.outputs.set(call, { caller, end: (fault) => stop.abort(fault) });
  let taker: OutputTaker | undefined;
  try {
    const messages = incoming<TellOutputRequest>(call);
    const session = await activeAgent(deps.hub, caller);
    const { message } = await messages.first(deps.timing.firstMessageMs, deps.clock);
    if (message.case !== "answer") {
      const text = "the first message must be an answer";
      throw new Fault("INVALID_ARGUMENT", "MESSAGE_UNEXPECTED", text);
    }
    taker = deps.hub.outputTold(session, message.value);
    const told = messages.each((request) => take(request, taker));
    await Promise.race([ended, gone(taker.left), told]);
  } finally {
    taker?.ended();
    deps.outputs.delete(call);
  }
}

async function take({ message }: TellOutputRequest, taker: OutputTaker | undefined): Promise<Next> {
  if (message.case !== "part") {
    throw new Fault("INVALID_ARGUMENT", "MESSAGE_UNEXPECTED", "only parts follow an answer");
  }
  await taker?.take(message.value);
  return taker?.left.aborted === true ? "end" : "go on";
}

function gone(left: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (left.aborted) resolve();
    else left.addEventListener("abort", () => resolve(), { once: true });
  });
}
