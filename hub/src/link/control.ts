/**
 * The control stream's handler: Hello is checked against the certificate, the agent is admitted, then what it
 * says is handed to the use cases one message at a time, so that a busy hub slows the agent down.
 */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ControlRequest, Hello } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { timeText } from "@holdfast/shared/plausible-clock.ts";
import type { VerifiedAgent } from "../pki/agent-certificate.ts";
import { type ControlCall, ControlSession, type ControlSessionDeps } from "./control-session.ts";
import { type Incoming, incoming, type Next } from "./incoming.ts";
import {
  CLOCK_SKEW_MS_MAX,
  HELD_MAX,
  type LinkTiming,
  RETRY_BACKOFF,
  STATUSES_PER_REPORT_MAX,
} from "./limits.ts";
import type { AgentSession } from "./port.ts";
import type { Sessions } from "./sessions.ts";

/** Protocol versions that this hub speaks. */
export const PROTOCOLS = { min: 1, max: 1 } as const;

export type ControlDeps = ControlSessionDeps &
  Readonly<{
    sessions: Sessions;
    /** Goes on after the stream has ended; the server waits for it when it stops, in the end no longer. */
    afterwards: (work: (stopped: AbortSignal) => Promise<void>) => void;
    timing: LinkTiming;
    callerOf: (call: ControlCall) => VerifiedAgent;
  }>;

/** Returns when the agent has gone; throws what ends the stream. */
export async function control(call: ControlCall, deps: ControlDeps): Promise<void> {
  const caller = deps.callerOf(call);
  const messages = incoming<ControlRequest>(call);
  const session = await admitted(messages, caller, call, deps);
  const { agent, log } = session;
  const gone = new AbortController();
  let endReason = "";
  try {
    deps.watch.sessionOpened();
    deps.sessions.add(session);
    await session.welcome(deps.sessions.spreadMs);
    const expired = expiry(caller, deps, gone.signal);
    const serving = { ...deps, log, gone: gone.signal };
    const served = messages.each((request) => handle(request, session, serving));
    await Promise.race([session.ended, expired, served]);
  } catch (error) {
    endReason = error instanceof Fault ? error.reason : "INTERNAL";
    throw error;
  } finally {
    gone.abort("the session has ended");
    deps.watch.sessionEnded(endReason);
    deps.sessions.remove(session);
    session.end(undefined);
    deps.afterwards((stopped) => recordEnd(agent, { ...deps, log }, stopped));
    log.info({}, "agent disconnected");
  }
}

async function admitted(
  messages: Incoming<ControlRequest>,
  caller: VerifiedAgent,
  call: ControlCall,
  deps: ControlDeps,
): Promise<ControlSession> {
  const { message } = await messages.first(deps.timing.firstMessageMs, deps.clock);
  if (message.case !== "hello") {
    throw new Fault("INVALID_ARGUMENT", "HELLO_MISSING", "the first message must be a hello");
  }
  const hello = message.value;
  const protocol = chooseProtocol(hello);
  await checkHello(hello, caller, deps);
  const agent = await deps.hub.admit(caller, hello);
  const log = deps.log.child({ agent: caller.agentId, session: agent.session.toString() });
  log.info({ version: hello.agentVersion }, "agent connected");
  return new ControlSession(agent, call, { hello, protocol }, { ...deps, log });
}

/**
 * Until it is recorded, or another session has taken over: nothing else would ever tell that the agent has
 * gone. The agent does not wait for it.
 */
async function recordEnd(agent: AgentSession, deps: ControlDeps, stopped: AbortSignal) {
  const { hub, clock, random, log } = deps;
  for (let failures = 0; !stopped.aborted; failures++) {
    try {
      return await hub.left(agent);
    } catch (error) {
      const isLast = !(error instanceof Fault) || !error.retryable;
      log.warn({ error: causeChain(error), isLast }, "the end of a session was not recorded");
      if (isLast) return;
      await clock.sleep(
        RETRY_BACKOFF.baseMs + fullJitter(RETRY_BACKOFF, failures, random),
        stopped,
      );
    }
  }
}

/** A stream ends with the certificate that opened it; the agent has renewed long before, or is told to. */
function expiry(caller: VerifiedAgent, { clock }: ControlDeps, gone: AbortSignal): Promise<void> {
  return clock.sleep(caller.notAfter - clock.now(), gone).then(() => {
    if (gone.aborted) return;
    throw new Fault("UNAUTHENTICATED", "CERTIFICATE_EXPIRED", "client certificate: it has expired");
  });
}

type ServeDeps = ControlDeps & Readonly<{ gone: AbortSignal }>;

async function handle(
  { message }: ControlRequest,
  session: ControlSession,
  deps: ServeDeps,
): Promise<Next> {
  const { agent } = session;
  switch (message.case) {
    case "status": {
      const { instances } = message.value;
      if (instances.length > STATUSES_PER_REPORT_MAX) {
        throw new Fault(
          "RESOURCE_EXHAUSTED",
          "STATUSES_TOO_MANY",
          `status: ${instances.length} instances; at most ${STATUSES_PER_REPORT_MAX}`,
        );
      }
      await tried(agent, deps, () => deps.hub.statusReported(agent, message.value));
      for (const { instanceId, committedGeneration, removed } of instances) {
        const committed = formatGeneration(generationOf(committedGeneration));
        deps.log.debug({ instance: instanceId, committed }, "status taken");
        if (removed) session.removed(instanceId);
      }
      return "go on";
    }
    case "actionResult":
      await tried(agent, deps, () => deps.hub.actionEnded(agent, message.value));
      return "go on";
    case "rehearsal":
      await tried(agent, deps, () => deps.hub.rehearsed(agent, message.value));
      return "go on";
    default:
      throw new Fault(
        "INVALID_ARGUMENT",
        "MESSAGE_UNEXPECTED",
        `control: got ${message.case ?? "an unknown message"} after the hello`,
      );
  }
}

/**
 * What the hub cannot take now is tried again while the agent waits, for as long as it is connected: an agent that is
 * sent away because the hub is busy would come back and make it busier. What it will never take is dropped with a
 * warning: the agent would only send it again. A caller that is no longer welcome ends the stream.
 */
async function tried(agent: AgentSession, deps: ServeDeps, work: () => Promise<void>) {
  for (let failures = 0; !deps.gone.aborted; failures++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Fault) || isUnwelcome(error)) throw error;
      const facts = { agent: agent.agentId, reason: error.reason, error: error.message };
      if (!error.retryable) {
        deps.log.warn(facts, "dropped what an agent said");
        return;
      }
      if (failures === 0) deps.log.warn(facts, "could not take what an agent said; trying again");
      await deps.clock.sleep(fullJitter(RETRY_BACKOFF, failures, deps.random), deps.gone);
    }
  }
}

/** Another session of the agent, or another agent, speaks for the cell now; or this one never may. */
function isUnwelcome({ code, reason }: Fault): boolean {
  return code === "UNAUTHENTICATED" || code === "PERMISSION_DENIED" || reason === "SESSION_OLD";
}

function chooseProtocol({ minProtocol, maxProtocol }: Hello): number {
  const protocol = Math.min(maxProtocol, PROTOCOLS.max);
  if (protocol >= Math.max(minProtocol, PROTOCOLS.min)) return protocol;
  throw new Fault(
    "FAILED_PRECONDITION",
    "PROTOCOL_UNSUPPORTED",
    `hello: the agent speaks protocol ${minProtocol} to ${maxProtocol}; ` +
      `this hub speaks ${PROTOCOLS.min} to ${PROTOCOLS.max}`,
  );
}

async function checkHello(hello: Hello, caller: VerifiedAgent, deps: ControlDeps): Promise<void> {
  if (hello.held.length > HELD_MAX) {
    throw new Fault(
      "RESOURCE_EXHAUSTED",
      "HELD_TOO_MANY",
      `hello: ${hello.held.length} instances held; at most ${HELD_MAX}`,
    );
  }
  sayClock(hello, caller, deps);
  if (hello.fencing === caller.fencing) return;
  throw await identityMismatch(deps, caller, `fencing ${hello.fencing}`, `${caller.fencing}`);
}

/** Usage is clamped and certificates are judged by the hub's time; whoever looks after the host should know. */
function sayClock({ agentTime }: Hello, { agentId }: VerifiedAgent, { clock, log }: ControlDeps) {
  if (agentTime === undefined) return;
  const [agentMs, hubMs] = [timestampMs(agentTime), clock.now()];
  if (Math.abs(agentMs - hubMs) <= CLOCK_SKEW_MS_MAX) return;
  const times = { agentTime: timeText(agentMs), hubTime: timeText(hubMs) };
  log.warn({ agent: agentId, ...times }, "the agent's clock differs from the hub's");
}

/** The refusal of a message that names somebody else than the certificate does, once it is in the audit. */
export async function identityMismatch(
  { hub, log }: Pick<ControlDeps, "hub" | "log">,
  caller: VerifiedAgent,
  claimed: string,
  proven: string,
): Promise<Fault> {
  log.warn({ agent: caller.agentId, claimed, proven }, "identity mismatch");
  await hub.mismatched(caller, claimed).catch((error: unknown) => {
    log.error({ error: causeChain(error) }, "an identity mismatch was not recorded");
  });
  return new Fault(
    "PERMISSION_DENIED",
    "IDENTITY_MISMATCH",
    `the message says ${claimed}; the certificate says ${proven}`,
  );
}
