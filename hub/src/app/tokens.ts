/** Makes and revokes the tokens that members sign in with, makes those with which agents join, and says who a caller is. */
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Duration, type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type CreateJoinTokenRequest,
  CreateJoinTokenRequestSchema,
  type CreateJoinTokenResponse,
  CreateJoinTokenResponseSchema,
  type CreateTakeoverTokenRequest,
  CreateTakeoverTokenRequestSchema,
  type CreateTakeoverTokenResponse,
  CreateTakeoverTokenResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import {
  type CreateTokenRequest,
  CreateTokenRequestSchema,
  type CreateTokenResponse,
  CreateTokenResponseSchema,
  type RevokeTokenRequest,
  RevokeTokenRequestSchema,
  type RevokeTokenResponse,
  RevokeTokenResponseSchema,
  type WhoAmIResponse,
  WhoAmIResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { sha256 } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { encodeJoinToken } from "@holdfast/shared/join-token.ts";
import * as agents from "../store/agents.ts";
import * as apiTokens from "../store/api-tokens.ts";
import * as joinTokens from "../store/join-tokens.ts";
import { CELLS, MEMBERS } from "../store/object-tables.ts";
import type { ObjectRow } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import { mintApiToken } from "./api-token.ts";
import { type Call, principalOf, roleHas } from "./caller.ts";
import { type AppDeps, newId } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { MEMBER } from "./kinds/member.ts";
import { mutate, read } from "./mutation.ts";
import { resolve, tenantIdOf } from "./reference.ts";
import { refuse } from "./refusal.ts";
import { viewOne } from "./standard.ts";

const DAY_MS = 86_400_000;
const API_TOKEN_LIFE = { fallbackMs: 90 * DAY_MS, maxMs: 366 * DAY_MS };
const JOIN_TOKEN_LIFE = { fallbackMs: 3_600_000, maxMs: DAY_MS };
const LIFE_MS_MIN = 1_000;

export function createToken(
  deps: AppDeps,
  call: Call,
  request: CreateTokenRequest,
): Promise<CreateTokenResponse> {
  const lifeMs = lifeOf(request.ttl, API_TOKEN_LIFE);
  const schemas = {
    requestSchema: CreateTokenRequestSchema,
    answerSchema: CreateTokenResponseSchema,
  };
  return mutate(deps, { call, request, ...schemas }, async (tx) => {
    const tenantId = await tenantIdOf(tx, request.tenant, "tenant");
    const text = request.member;
    const member = await resolve(
      tx,
      { kind: "member", table: MEMBERS, text, path: "member", tenantId },
      true,
    );
    const { text: token, secretHash } = mintApiToken(call.caller.vendorId);
    const id = newId(deps.clock);
    const expiresAt = new Date(deps.clock.now() + lifeMs);
    await apiTokens.insert(tx, {
      id,
      tenantId: member.tenantId,
      memberId: member.id,
      description: request.description,
      expiresAt,
      secretHash,
    });
    await recordToken(deps, tx, call, "token_created", member, id);
    const tokenId = idOf("token", id);
    const expireTime = timestampFromDate(expiresAt);
    return create(CreateTokenResponseSchema, { tokenId, token, expireTime });
  });
}

export function revokeToken(
  deps: AppDeps,
  call: Call,
  request: RevokeTokenRequest,
): Promise<RevokeTokenResponse> {
  const schemas = {
    requestSchema: RevokeTokenRequestSchema,
    answerSchema: RevokeTokenResponseSchema,
  };
  const id = uuidOf("token", request.tokenId, "token_id");
  return mutate(deps, { call, request, ...schemas }, async (tx) => {
    const token = await apiTokens.get(tx, id);
    if (token === undefined) {
      throw new Fault("NOT_FOUND", "NOT_FOUND", `token ${request.tokenId}: not found`);
    }
    await apiTokens.revoke(tx, id);
    const text = idOf("member", token.memberId);
    const member = await resolve(tx, { kind: "member", table: MEMBERS, text, path: "member" });
    await recordToken(deps, tx, call, "token_revoked", member, id);
    return create(RevokeTokenResponseSchema);
  });
}

/** The token itself is in no event. */
async function recordToken(
  deps: AppDeps,
  tx: Tx,
  call: Call,
  verb: string,
  member: ObjectRow,
  tokenId: string,
): Promise<void> {
  const after = { token: idOf("token", tokenId) };
  await record(tx, actorOf(call), deps.clock.now(), {
    verb,
    kind: "member",
    subject: member,
    after,
  });
}

/** For the first agent of a cell. Throws FAILED_PRECONDITION `CELL_TAKEN` where there is one already. */
export function createJoinToken(
  deps: AppDeps,
  call: Call,
  request: CreateJoinTokenRequest,
): Promise<CreateJoinTokenResponse> {
  const schemas = {
    requestSchema: CreateJoinTokenRequestSchema,
    answerSchema: CreateJoinTokenResponseSchema,
  };
  const mutation = { call, request, requestId: request.requestId, ...schemas, isSecret: true };
  return mutate(deps, mutation, async (tx) => {
    const { cell, present } = await cellToJoin(tx, request);
    if (present !== undefined) throw taken(cell, present);
    const made = await makeToken(deps, tx, call, { cell, request, present });
    return create(CreateJoinTokenResponseSchema, made);
  });
}

/** For the next agent of a cell. Throws FAILED_PRECONDITION `CELL_FREE` where there is none to take over from. */
export function createTakeoverToken(
  deps: AppDeps,
  call: Call,
  request: CreateTakeoverTokenRequest,
): Promise<CreateTakeoverTokenResponse> {
  const schemas = {
    requestSchema: CreateTakeoverTokenRequestSchema,
    answerSchema: CreateTakeoverTokenResponseSchema,
  };
  const mutation = { call, request, requestId: request.requestId, ...schemas, isSecret: true };
  return mutate(deps, mutation, async (tx) => {
    const { cell, present } = await cellToJoin(tx, request);
    if (present === undefined) {
      const message = `cell ${cell.name}: it has no agent to take over from`;
      const next = `holdfast cell token ${cell.name}`;
      throw new Fault("FAILED_PRECONDITION", "CELL_FREE", message, { next });
    }
    const made = await makeToken(deps, tx, call, { cell, request, present });
    return create(CreateTakeoverTokenResponseSchema, { ...made, replaces: present.name });
  });
}

type TokenRequest = CreateJoinTokenRequest | CreateTakeoverTokenRequest;

/** The cell, and the agent that is active there. */
async function cellToJoin(tx: Tx, { cell: text, tenant }: TokenRequest) {
  const tenantId = await tenantIdOf(tx, tenant, "tenant");
  const reference = { kind: "cell", table: CELLS, text, path: "cell", tenantId } as const;
  const cell = await resolve(tx, reference, true);
  if (cell.deletedAt !== undefined) {
    throw new Fault("FAILED_PRECONDITION", "DELETED", `cell ${cell.name}: it is being deleted`);
  }
  return { cell, present: await agents.active(tx, cell.id) };
}

type TokenToMake = Readonly<{
  cell: ObjectRow;
  request: TokenRequest;
  present: agents.AgentRow | undefined;
}>;

async function makeToken(
  deps: AppDeps,
  tx: Tx,
  call: Call,
  { cell, request, present }: TokenToMake,
): Promise<Readonly<{ joinToken: string; expireTime: Timestamp }>> {
  const id = newId(deps.clock);
  const secret = randomBytes(32).toString("base64url");
  const expiresAt = new Date(deps.clock.now() + lifeOf(request.ttl, JOIN_TOKEN_LIFE));
  await joinTokens.insert(tx, {
    id,
    tenantId: cell.tenantId,
    cellId: cell.id,
    takesOver: present?.fencing ?? 0n,
    createdBy: principalOf(call.caller),
    expiresAt,
    secretHash: sha256(secret),
  });
  const isTakeover = present !== undefined;
  await record(tx, actorOf(call), deps.clock.now(), {
    verb: isTakeover ? "takeover_token_created" : "join_token_created",
    kind: "cell",
    subject: cell,
    after: {
      joinToken: id,
      expireTime: expiresAt.toISOString(),
      ...(isTakeover && { replaces: present.name }),
    },
  });
  const joinToken = encodeJoinToken({
    vendorId: call.caller.vendorId,
    id,
    secret,
    identityEndpoints: [deps.endpoints().identity],
    rootFingerprint: fingerprintOf(deps.serverRoots),
  });
  return { joinToken, expireTime: timestampFromDate(expiresAt) };
}

function taken({ name }: ObjectRow, present: agents.AgentRow): Fault {
  const message = `cell ${name}: agent ${present.name} is active there; another one takes over from it`;
  const next = `holdfast cell takeover ${name}`;
  return new Fault("FAILED_PRECONDITION", "CELL_TAKEN", message, { next });
}

export function whoAmI(
  deps: AppDeps,
  call: Call,
  permissions: readonly Readonly<{ permission: string; scope: string }>[],
): Promise<WhoAmIResponse> {
  const { caller } = call;
  return read(deps, call, async (tx) => {
    const text = idOf("member", caller.memberId);
    const member = await resolve(tx, { kind: "member", table: MEMBERS, text, path: "member" });
    const isTenants = caller.tenantName !== "";
    const held = permissions.filter(
      ({ permission, scope }) =>
        scope === "self" ||
        (!(isTenants && scope === "vendor") &&
          caller.roles.some((role) => roleHas(role, permission))),
    );
    return create(WhoAmIResponseSchema, {
      member: await viewOne(tx, MEMBER, member),
      vendor: caller.vendorName,
      permissions: held.map(({ permission }) => permission),
    });
  });
}

type Life = Readonly<{ fallbackMs: number; maxMs: number }>;

function lifeOf(ttl: Duration | undefined, { fallbackMs, maxMs }: Life): number {
  if (ttl === undefined) return fallbackMs;
  const ms = Number(ttl.seconds) * 1_000 + Math.floor(ttl.nanos / 1_000_000);
  if (ms >= LIFE_MS_MIN && ms <= maxMs) return ms;
  throw refuse("ttl", `got ${ms / 1_000}s; allowed: 1s to ${maxMs / 1_000}s`, "TTL_RANGE");
}

function fingerprintOf([root]: readonly Uint8Array[]): string {
  return Buffer.from(sha256(root ?? new Uint8Array())).toString("hex");
}
