/**
 * Who may speak on the link: the certificate must be one that was issued, for this agent and cell, and not
 * revoked. A control stream opens a session; what older sessions write is refused from then on.
 */
import { toBinary } from "@bufbuild/protobuf";
import type { Hello } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { openSealingKey } from "@holdfast/shared/sealing.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { AgentPrincipal, AgentSession } from "../../link/port.ts";
import * as agents from "../../store/agents.ts";
import * as cells from "../../store/cells.ts";
import * as certificates from "../../store/certificates.ts";
import { agentContext, type Context, taskContext } from "../../store/context.ts";
import { AGENTS } from "../../store/object-tables.ts";
import { find } from "../../store/objects.ts";
import * as sessions from "../../store/sessions.ts";
import { type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { record } from "../event.ts";

const CAPABILITIES_MAX = 100;
const TEXT_CHARS_MAX = 200;
/** A statement of four short texts and one signature; the same bound as in the database. */
const SEALING_KEY_BYTES_MAX = 4_096;

export function contextOfAgent({ vendorId, cellId, agentId }: AgentPrincipal): Context {
  return agentContext(vendorId, cellId, agentId);
}

/** One agent's is its cell; what is asked for several at once goes over the vendor's cells, named one by one. */
export function contextOfAgents(vendorId: string, agents: readonly AgentPrincipal[]): Context {
  const [one, ...others] = agents;
  if (one !== undefined && others.length === 0) return contextOfAgent(one);
  return taskContext(vendorId, "link");
}

/** Throws UNAUTHENTICATED `CERTIFICATE_UNKNOWN`, `CERTIFICATE_REVOKED` or `AGENT_GONE`. */
export async function knownAgent(tx: Tx, principal: AgentPrincipal): Promise<agents.AgentRow> {
  const certificate = await certificates.get(tx, principal.agentId, principal.serial);
  const agent = await agents.get(tx, principal.agentId);
  if (certificate === undefined || certificate.fencing !== principal.fencing) {
    throw unwelcome("CERTIFICATE_UNKNOWN", "this hub did not issue the certificate");
  }
  if (certificate.revokedAt !== null) throw unwelcome("CERTIFICATE_REVOKED", "it was revoked");
  if (agent === undefined || agent.deletedAt !== null || agent.cellId !== principal.cellId) {
    throw unwelcome("AGENT_GONE", "its agent was removed");
  }
  return agent;
}

function unwelcome(reason: string, message: string): Fault {
  return new Fault("UNAUTHENTICATED", reason, `client certificate: ${message}`);
}

export function admit(
  deps: AppDeps,
  principal: AgentPrincipal,
  hello: Hello | undefined,
): Promise<AgentSession> {
  return withContext(deps.database, contextOfAgent(principal), async (tx) => {
    const agent = await knownAgent(tx, principal);
    const cell = await cells.get(tx, principal.cellId);
    if (cell === undefined) throw unwelcome("AGENT_GONE", "its cell was removed");
    const active = agent.fencing === cell.fencing;
    if (hello === undefined) {
      const [present] = await sessions.listOfAgents(tx, [agent.id]);
      return { ...principal, session: present?.session ?? 0n, active };
    }
    if (!active) throw sessions.fenced();
    await agents.noteHello(tx, agent.id, {
      version: hello.agentVersion.slice(0, TEXT_CHARS_MAX),
      platform: hello.platform.slice(0, TEXT_CHARS_MAX),
      bootId: hello.bootId.slice(0, TEXT_CHARS_MAX),
      capabilities: hello.capabilities.slice(0, CAPABILITIES_MAX).map((each) => ({
        name: shown(each.name),
        available: each.available,
        reason: shown(each.reason),
      })),
    });
    await noteSealingKey(deps, tx, agent, hello.sealingKey);
    const { session } = await sessions.open(tx, agent.id, deps.replica);
    await recordAgent(deps, tx, agent, "connected", { version: shown(hello.agentVersion) });
    return { ...principal, session, active };
  });
}

/**
 * A key that the agent's identity key did not sign is not kept: whoever seals would refuse it. The agent itself
 * is as welcome as before.
 */
async function noteSealingKey(
  deps: AppDeps,
  tx: Tx,
  agent: agents.AgentRow,
  envelope: Envelope | undefined,
): Promise<void> {
  if (envelope === undefined) return;
  const announced = toBinary(EnvelopeSchema, envelope);
  // The same one at every contact: a fleet that comes back costs neither a signature nor a write for it.
  if (agent.sealingKey !== null && Buffer.compare(announced, agent.sealingKey) === 0) return;
  const who = {
    vendorId: idOf("vendor", tx.context.vendorId),
    cellId: idOf("cell", agent.cellId),
    agentId: idOf("agent", agent.id),
  };
  try {
    if (announced.length > SEALING_KEY_BYTES_MAX) {
      const message = `sealing key: ${announced.length} bytes; at most ${SEALING_KEY_BYTES_MAX}`;
      throw new Fault("INVALID_ARGUMENT", "SEALING_KEY_UNFIT", message);
    }
    openSealingKey(envelope, agent.identityKey, who);
  } catch (error) {
    deps.log.warn({ agent: agent.id, error: causeChain(error) }, "sealing key refused");
    return;
  }
  await agents.replaceSealingKey(tx, agent.id, announced);
  await recordAgent(deps, tx, agent, "sealing_key_announced", {});
}

/** An agent spoke in another's name. The row stands in the name of the one that the certificate proved. */
export async function mismatched(
  deps: AppDeps,
  principal: AgentPrincipal,
  claimed: string,
): Promise<void> {
  await withContext(deps.database, contextOfAgent(principal), (tx) =>
    recordAgent(deps, tx, { id: principal.agentId }, "identity_mismatch", { claimed }),
  );
}

/** Changes nothing where a newer session has taken over. */
export async function left(deps: AppDeps, session: AgentSession): Promise<void> {
  await withContext(deps.database, contextOfAgent(session), async (tx) => {
    const isClosed = await sessions.close(tx, session.agentId, session.session);
    const agent = isClosed ? await agents.get(tx, session.agentId) : undefined;
    if (agent !== undefined) await recordAgent(deps, tx, agent, "disconnected", {});
  });
}

export async function recordAgent(
  deps: Pick<AppDeps, "clock">,
  tx: Tx,
  agent: Pick<agents.AgentRow, "id">,
  verb: string,
  after: Readonly<Record<string, string>>,
): Promise<void> {
  const [subject] = await find(tx, AGENTS, { id: agent.id }, false);
  if (subject === undefined) return;
  const actor = { principal: `agent/${subject.name}`, permission: "", requestId: "" };
  await record(tx, actor, deps.clock.now(), { verb, kind: "agent", subject, after });
}
