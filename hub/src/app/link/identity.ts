/**
 * How agents come by their certificates: a one-time join token for the first one, the present certificate
 * and the identity key for the next ones. Every wrong token gets one answer; the cause is in the audit.
 */
import { verify } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type EnrollRequest,
  type EnrollResponse,
  EnrollResponseSchema,
  type RenewResponse,
  RenewResponseSchema,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { sha256 } from "@holdfast/shared/digest.ts";
import { keyIdOf, verificationKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { enrollProofBytes, renewProofBytes } from "@holdfast/shared/identity-proof.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { type JoinToken, parseJoinToken } from "@holdfast/shared/join-token.ts";
import { escapeControls, shown } from "@holdfast/shared/text.ts";
import type { AgentPrincipal, IdentityHub, Peer } from "../../link/port.ts";
import {
  type AgentSubject,
  type IssuedCertificate,
  issueAgentCertificate,
  RENEW_GRACE_MS,
} from "../../pki/agent-certificate.ts";
import { type CertificateRequest, readCertificateRequest } from "../../pki/certificate-request.ts";
import * as agents from "../../store/agents.ts";
import * as cells from "../../store/cells.ts";
import * as certificates from "../../store/certificates.ts";
import { taskContext } from "../../store/context.ts";
import * as joinTokens from "../../store/join-tokens.ts";
import * as keySets from "../../store/key-sets.ts";
import * as sessions from "../../store/sessions.ts";
import { readWithContext, type Tx, withContext } from "../../store/tx.ts";
import { type AppDeps, newId } from "../deps.ts";
import { record } from "../event.ts";
import { refuse } from "../refusal.ts";
import { contextOfAgent, knownAgent, recordAgent } from "./admission.ts";

const HOST_NAME_CHARS_MAX = 255;
const VERSION_CHARS_MAX = 100;
/** From the takeover on; as long as an agent keeps usage, and may be away. */
export const DRAIN_MS_MAX = RENEW_GRACE_MS;
const ACTOR = { principal: "hub/enroll", permission: "", requestId: "" };

export function identityHub(deps: AppDeps): IdentityHub {
  return {
    enroll: (request, peer) => enroll(deps, request, peer),
    renew: (principal, request, proof) => renew(deps, principal, request, proof),
  };
}

async function enroll(deps: AppDeps, request: EnrollRequest, peer: Peer): Promise<EnrollResponse> {
  const token = parseJoinToken(request.joinToken);
  if (request.hostName.length > HOST_NAME_CHARS_MAX) {
    const got = `${request.hostName.length} characters`;
    throw refuse(
      "host_name",
      `got ${got}; allowed: at most ${HOST_NAME_CHARS_MAX}`,
      "TEXT_TOO_LONG",
    );
  }
  const csr = await readCertificateRequest(request.certificateRequest);
  const proven = enrollProofBytes(request.joinToken, request.certificateRequest);
  checkProof(proven, request.identityKey, request.identityProof);
  checkVendor(deps, token);
  try {
    return await withContext(deps.database, taskContext(token.vendorId, "enroll"), (tx) =>
      join(deps, tx, token, request, csr),
    );
  } catch (error) {
    if (error instanceof Fault && error.reason === "TOKEN_REFUSED") await audit(deps, token, peer);
    throw error;
  }
}

async function join(
  deps: AppDeps,
  tx: Tx,
  token: JoinToken,
  request: EnrollRequest,
  csr: CertificateRequest,
): Promise<EnrollResponse> {
  const agentId = newId(deps.clock);
  const secretHash = sha256(token.secret);
  const redeemed = await joinTokens.redeem(tx, { id: token.id, secretHash, agentId });
  const cell = redeemed === undefined ? undefined : await cells.get(tx, redeemed.cellId);
  if (redeemed === undefined || cell === undefined || cell.deletedAt !== null) throw tokenRefused();
  checkCell(request, cell);
  const fencing = await cells.nextFencing(tx, cell.id, redeemed.takesOver);
  if (fencing === undefined) throw taken(cell, redeemed);
  const [replaced] = await agents.listOfCell(tx, cell.id);
  await agents.insert(tx, {
    id: agentId,
    tenantId: cell.tenantId,
    cellId: cell.id,
    name: `${cell.name}-${fencing}`.slice(-63),
    fencing,
    identityKey: request.identityKey,
    hostName: escapeControls(request.hostName),
    version: escapeControls(request.agentVersion).slice(0, VERSION_CHARS_MAX),
  });
  const issued = await issue(deps, tx, cell.tenantId, csr, {
    vendorId: token.vendorId,
    cellId: cell.id,
    agentId,
    fencing,
    identityKeyId: keyIdOf(request.identityKey),
  });
  await recordAgent(deps, tx, { id: agentId }, "enrolled", {
    hostName: shown(request.hostName),
    fencing: fencing.toString(),
    ignored: csr.ignored.join("; "),
  });
  if (replaced !== undefined) await recordTakeover(deps, tx, redeemed, replaced, agentId);
  const { link, identity } = deps.endpoints();
  return create(EnrollResponseSchema, {
    vendorId: idOf("vendor", token.vendorId),
    cellId: idOf("cell", cell.id),
    agentId: idOf("agent", agentId),
    fencing,
    certificate: issued.certificate,
    keySets: (await keySets.listNewest(tx)).map(({ envelope }) =>
      fromBinary(EnvelopeSchema, envelope),
    ),
    linkEndpoints: [link],
    identityEndpoints: [identity],
    incarnation: deps.incarnation,
  });
}

async function renew(
  deps: AppDeps,
  principal: AgentPrincipal,
  request: Uint8Array,
  proof: Uint8Array,
): Promise<RenewResponse> {
  const csr = await readCertificateRequest(request);
  return withContext(deps.database, contextOfAgent(principal), async (tx) => {
    const agent = await knownAgent(tx, principal);
    await checkMayRenew(deps, tx, agent);
    checkProof(renewProofBytes(request), agent.identityKey, proof);
    const { vendorId, cellId, agentId } = principal;
    const issued = await issue(deps, tx, agent.tenantId, csr, {
      vendorId,
      cellId,
      agentId,
      fencing: agent.fencing,
      identityKeyId: keyIdOf(agent.identityKey),
    });
    await recordAgent(deps, tx, agent, "certificate_renewed", { serial: issued.serial });
    return create(RenewResponseSchema, {
      certificate: issued.certificate,
      hubTime: timestampFromMs(deps.clock.now()),
    });
  });
}

/**
 * A fenced agent may still renew, to deliver what it has: with any certificate it opens its reporting stream and
 * nothing else. After DRAIN_MS_MAX nothing that it could bring counts any more.
 */
async function checkMayRenew(deps: AppDeps, tx: Tx, agent: agents.AgentRow): Promise<void> {
  const cell = await cells.get(tx, agent.cellId);
  if (cell?.fencing === agent.fencing) return;
  const fencedAt = await agents.fencedAt(tx, agent);
  const sinceMs = deps.clock.now() - (fencedAt?.getTime() ?? 0);
  if (sinceMs > DRAIN_MS_MAX) throw sessions.fenced();
}

/** An agent that means to go on with workloads that it holds joins their cell or none. */
function checkCell({ cellId }: EnrollRequest, cell: cells.CellRow): void {
  if (cellId === "" || uuidOf("cell", cellId, "cell_id") === cell.id) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "CELL_OTHER",
    `the token is for cell ${cell.name}; this state directory is of cell ${shown(cellId)}`,
    { next: "holdfast-agent enroll --state NEW_DIR" },
  );
}

function taken({ name }: cells.CellRow, { takesOver }: joinTokens.JoinTokenRow): Fault {
  const what =
    takesOver === 0n
      ? "it has an agent; a token of another kind takes over from it"
      : "another agent has taken over since the token was made";
  return new Fault("FAILED_PRECONDITION", "CELL_TAKEN", `cell ${name}: ${what}`, {
    next: `holdfast cell takeover ${name}`,
  });
}

/** Who did it is whoever made the token. From the commit on the agent before is told that it is fenced. */
async function recordTakeover(
  deps: AppDeps,
  tx: Tx,
  { createdBy, id }: joinTokens.JoinTokenRow,
  before: agents.AgentRow,
  agentId: string,
): Promise<void> {
  const { cellId } = before;
  const subject = await cells.getForEvent(tx, cellId);
  const after = await agents.get(tx, agentId);
  if (subject === undefined || after === undefined) throw tokenRefused();
  const actor = { principal: createdBy, permission: "cell.takeover", requestId: "" };
  await record(tx, actor, deps.clock.now(), {
    verb: "taken_over",
    kind: "cell",
    subject,
    before: { activeAgent: before.name, fencing: before.fencing.toString() },
    after: { activeAgent: after.name, fencing: after.fencing.toString(), joinToken: id },
  });
  const { vendorId } = tx.context;
  tx.afterCommit(() => {
    deps.outcasts.expel({ vendorId, cellId, below: after.fencing, fault: sessions.fenced() });
  });
}

/** Issues and registers: a certificate that is not in the register is refused on the link. */
async function issue(
  deps: AppDeps,
  tx: Tx,
  tenantId: string,
  { publicKey }: CertificateRequest,
  subject: AgentSubject,
): Promise<IssuedCertificate> {
  const now = deps.clock.now();
  const { agentAuthority } = deps.keysOf(subject.vendorId);
  const roots = deps.serverRoots;
  const issued = await issueAgentCertificate(agentAuthority, subject, publicKey, roots, now);
  await certificates.insert(tx, {
    tenantId,
    cellId: subject.cellId,
    agentId: subject.agentId,
    serial: issued.serial,
    fencing: subject.fencing,
    notBefore: new Date(now),
    notAfter: new Date(issued.notAfter),
  });
  return issued;
}

function checkProof(bytes: Uint8Array, identityKey: Uint8Array, proof: Uint8Array): void {
  const { publicKey } = verificationKey(identityKey);
  if (verify(null, bytes, publicKey, proof)) return;
  throw new Fault(
    "UNAUTHENTICATED",
    "IDENTITY_PROOF",
    "identity_proof: it was not made by the identity key for this request",
  );
}

function checkVendor({ keysOf }: AppDeps, { vendorId }: JoinToken): void {
  try {
    keysOf(vendorId);
  } catch {
    throw tokenRefused();
  }
}

function tokenRefused(): Fault {
  return new Fault(
    "UNAUTHENTICATED",
    "TOKEN_REFUSED",
    "join token: it is not valid here any more; ask for a new one",
    { next: "holdfast cell token CELL" },
  );
}

/** Why, for the owner of the cell alone. An unknown token has no owner and is only in the log. */
async function audit(deps: AppDeps, { vendorId, id }: JoinToken, peer: Peer): Promise<void> {
  const context = taskContext(vendorId, "enroll");
  const token = await readWithContext(deps.database, context, (tx) => joinTokens.get(tx, id));
  if (token === undefined) {
    deps.log.warn({ vendorId, address: peer.address }, "enrolment with an unknown join token");
    return;
  }
  await withContext(deps.database, context, async (tx) => {
    const cell = await cells.getForEvent(tx, token.cellId);
    if (cell === undefined) return;
    await record(tx, ACTOR, deps.clock.now(), {
      verb: "join_refused",
      kind: "cell",
      subject: cell,
      reason: causeOf(token, deps.clock.now()),
      after: { joinToken: token.id, address: peer.address },
    });
  });
}

function causeOf(token: joinTokens.JoinTokenRow, now: number): string {
  if (token.revokedAt !== null) return "TOKEN_REVOKED";
  if (token.usedAt !== null) return "TOKEN_USED";
  return token.expiresAt.getTime() <= now ? "TOKEN_EXPIRED" : "TOKEN_WRONG_SECRET";
}
