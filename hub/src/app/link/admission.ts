/**
 * Who may speak on the link: the certificate must be one that was issued, for this agent and cell, and not
 * revoked. A control stream opens a session; what older sessions write is refused from then on. Who may not act
 * although all that is right, suspects.ts knows.
 */
import { toBinary } from "@bufbuild/protobuf";
import type { Hello } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { openSealingKey } from "@holdfast/shared/sealing.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { Lives } from "../../domain/lives.ts";
import type { AgentPrincipal, AgentSession } from "../../link/port.ts";
import * as agents from "../../store/agents.ts";
import * as cells from "../../store/cells.ts";
import * as certificates from "../../store/certificates.ts";
import { agentContext, type Context, taskContext } from "../../store/context.ts";
import * as sessions from "../../store/sessions.ts";
import { type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { recordAll } from "../event.ts";
import { agentChange } from "./agent-change.ts";
import { Suspects } from "./suspects.ts";

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
  const [known] = await knownAgents(tx, [principal]);
  if (known instanceof Fault || known === undefined) throw known ?? agentGone();
  return known;
}

/** In the order of the principals: who it is, or what `knownAgent` would throw. */
async function knownAgents(
  tx: Tx,
  principals: readonly AgentPrincipal[],
): Promise<readonly (agents.AgentRow | Fault)[]> {
  const ids = [...new Set(principals.map(({ agentId }) => agentId))];
  const serials = [...new Set(principals.map(({ serial }) => serial))];
  const issued = await certificates.list(tx, ids, serials);
  const certificateOf = new Map(issued.map((each) => [`${each.agentId}/${each.serial}`, each]));
  const agentOf = new Map((await agents.list(tx, ids)).map((each) => [each.id, each]));
  return principals.map(({ agentId, serial, fencing, cellId }) => {
    const certificate = certificateOf.get(`${agentId}/${serial}`);
    const agent = agentOf.get(agentId);
    if (certificate === undefined || certificate.fencing !== fencing) {
      return unwelcome("CERTIFICATE_UNKNOWN", "this hub did not issue the certificate");
    }
    if (certificate.revokedAt !== null) return unwelcome("CERTIFICATE_REVOKED", "it was revoked");
    if (agent === undefined || agent.deletedAt !== null || agent.cellId !== cellId) {
      return agentGone();
    }
    return agent;
  });
}

function agentGone(): Fault {
  return unwelcome("AGENT_GONE", "its agent was removed");
}

function unwelcome(reason: string, message: string): Fault {
  return new Fault("UNAUTHENTICATED", reason, `client certificate: ${message}`);
}

/** Who asks to be let in; without a hello for a stream beside the control stream, which opens no session. */
export type AdmitQuestion = Readonly<{ principal: AgentPrincipal; hello: Hello | undefined }>;

/** Agents of one vendor; answers in the order of the questions. */
export function admit(
  deps: AppDeps,
  vendorId: string,
  questions: readonly AdmitQuestion[],
): Promise<readonly (AgentSession | Fault)[]> {
  const principals = questions.map(({ principal }) => principal);
  return withContext(deps.database, contextOfAgents(vendorId, principals), async (tx) => {
    const known = await knownAgents(tx, principals);
    const cellIds = new Set(principals.map(({ cellId }) => cellId));
    const cellOf = new Map((await cells.list(tx, [...cellIds])).map((each) => [each.id, each]));
    const suspects = new Suspects();
    const judged = known.map((agent, at) => {
      const cell = agent instanceof Fault ? undefined : cellOf.get(agent.cellId);
      if (agent instanceof Fault) return agent;
      if (cell === undefined) return unwelcome("AGENT_GONE", "its cell was removed");
      return welcomeOf(questions[at] as AdmitQuestion, agent, cell, suspects);
    });
    // Of an agent that is frozen by one of these hellos, none is let in.
    const answers = judged.map((each) =>
      each instanceof Fault || each.hello === undefined || !suspects.isFrozen(each.agent.id)
        ? each
        : sessions.frozen(cellOf.get(each.agent.cellId)?.name ?? ""),
    );
    const sessionOf = new Map<Welcome, bigint>();
    for (const round of roundsOf(answers.filter(isWelcome))) {
      const opened = await openSessions(deps, tx, round);
      for (const each of round) sessionOf.set(each, opened.get(each.agent.id) ?? 0n);
    }
    await suspects.keep(deps, tx);
    return answers.map((each) =>
      each instanceof Fault
        ? each
        : { ...each.principal, session: sessionOf.get(each) ?? 0n, active: each.active },
    );
  });
}

/** Without a hello it is to deliver and to ask; only an active agent that is not frozen may act. */
function welcomeOf(
  question: AdmitQuestion,
  agent: agents.AgentRow,
  cell: cells.CellRow,
  suspects: Suspects,
): Welcome | Fault {
  const active = agent.fencing === cell.fencing;
  if (question.hello === undefined) {
    return { agent, active: active && agent.frozenAt === null, lives: agent.lives, ...question };
  }
  if (!active) {
    suspects.refused(agent);
    return sessions.fenced();
  }
  const lives = suspects.livesOf(agent, cell.name, question.hello);
  return lives === undefined ? sessions.frozen(cell.name) : { agent, active, lives, ...question };
}

const isWelcome = (answer: Welcome | Fault): answer is Welcome => !(answer instanceof Fault);

/** An agent that asks twice, since its first connection was lost, gets two sessions, the later one the higher number. */
function roundsOf(all: readonly Welcome[]): readonly (readonly Welcome[])[] {
  const rounds: Welcome[][] = [];
  const asked = new Map<string, number>();
  for (const each of all) {
    const round = asked.get(each.agent.id) ?? 0;
    asked.set(each.agent.id, round + 1);
    rounds[round] = [...(rounds[round] ?? []), each];
  }
  return rounds;
}

type Welcome = AdmitQuestion & Readonly<{ agent: agents.AgentRow; active: boolean; lives: Lives }>;

/** The session of each agent: a new one where it said hello, the present one where it did not. */
async function openSessions(
  deps: AppDeps,
  tx: Tx,
  welcome: readonly Welcome[],
): Promise<ReadonlyMap<string, bigint>> {
  const isHello = ({ hello }: Welcome) => hello !== undefined;
  const [greeting, others] = [welcome.filter(isHello), welcome.filter((each) => !isHello(each))];
  const present = others.length === 0 ? [] : await sessions.listOfAgents(tx, idsOf(others));
  if (greeting.length === 0) return sessionsOf(present);
  await agents.noteHellos(tx, greeting.map(saidHello));
  for (const { agent, hello } of greeting) await noteSealingKey(deps, tx, agent, hello?.sealingKey);
  const opened = await sessions.open(tx, idsOf(greeting), deps.replica);
  await recordAll(
    tx,
    deps.clock.now(),
    greeting.map(({ agent, hello }) =>
      agentChange(agent, "connected", { version: shown(hello?.agentVersion ?? "") }),
    ),
  );
  return sessionsOf([...present, ...opened]);
}

const idsOf = (all: readonly Welcome[]) => all.map(({ agent }) => agent.id);

function sessionsOf(rows: readonly sessions.SessionRow[]): ReadonlyMap<string, bigint> {
  return new Map(rows.map(({ agentId, session }) => [agentId, session]));
}

function saidHello({ agent, hello, lives }: Welcome): agents.SaidHello {
  const { agentVersion = "", platform = "", bootId = "", capabilities = [] } = hello ?? {};
  return {
    ...{ id: agent.id, lives },
    version: agentVersion.slice(0, TEXT_CHARS_MAX),
    platform: platform.slice(0, TEXT_CHARS_MAX),
    bootId: bootId.slice(0, TEXT_CHARS_MAX),
    capabilities: capabilities.slice(0, CAPABILITIES_MAX).map((each) => ({
      name: shown(each.name),
      available: each.available,
      reason: shown(each.reason),
    })),
  };
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

/** Agents of one vendor whose streams have ended. Changes nothing where a newer session has taken over. */
export function left(
  deps: AppDeps,
  vendorId: string,
  gone: readonly AgentSession[],
): Promise<readonly true[]> {
  return withContext(deps.database, contextOfAgents(vendorId, gone), async (tx) => {
    const closed = await sessions.closeAll(tx, gone);
    const rows = closed.length === 0 ? [] : await agents.list(tx, closed);
    const changes = rows.map((agent) => agentChange(agent, "disconnected", {}));
    await recordAll(tx, deps.clock.now(), changes);
    return gone.map(() => true);
  });
}

export async function recordAgent(
  deps: Pick<AppDeps, "clock">,
  tx: Tx,
  { id }: Pick<agents.AgentRow, "id">,
  verb: string,
  after: Readonly<Record<string, string>>,
): Promise<void> {
  const agent = await agents.get(tx, id);
  if (agent !== undefined) await recordAll(tx, deps.clock.now(), [agentChange(agent, verb, after)]);
}
