/**
 * Secrets of instances. A value comes sealed to the active agent of the instance's cell and is stored as it
 * came; the hub has no key for it. Setting one signs a new generation, so that a bad value is an attempt that
 * returns to the one before. No answer, event or message holds any of the sealed bytes.
 */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type ListSecretsRequest,
  type ListSecretsResponse,
  ListSecretsResponseSchema,
  type PrepareSecretRequest,
  type PrepareSecretResponse,
  PrepareSecretResponseSchema,
  type Secret,
  SecretSchema,
  SecretSource,
  type SetSecretRequest,
  SetSecretRequestSchema,
  type SetSecretResponse,
  SetSecretResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import {
  type Blueprint,
  BlueprintSchema,
  type SecretDeclaration,
} from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { isSealed } from "@holdfast/shared/sealing.ts";
import * as secrets from "../store/instance-secrets.ts";
import * as instances from "../store/instances.ts";
import { INSTANCES, RELEASES } from "../store/object-tables.ts";
import { find, type ObjectRow } from "../store/objects.ts";
import { readWithContext, type Tx } from "../store/tx.ts";
import * as visible from "../store/visible.ts";
import { type Call, principalOf } from "./caller.ts";
import { type AppDeps, catalogueContextOf } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { mutate, read } from "./mutation.ts";
import { assignSecrets } from "./offer.ts";
import { resolve, tenantIdOf } from "./reference.ts";
import { refuse, unfit } from "./refusal.ts";
import { secretReferences } from "./secret-references.ts";

type Asked = Readonly<{ instance: string; tenant: string }>;

export async function prepareSecret(
  deps: AppDeps,
  call: Call,
  request: PrepareSecretRequest,
): Promise<PrepareSecretResponse> {
  const { blueprint } = await releaseFor(deps, call, request);
  return read(deps, call, async (tx) => {
    const row = await instanceOf(tx, request);
    checkSettable(blueprint, row, request.name);
    const cellId = String(row.fields["cell_id"]);
    const agent = await activeAgent(tx, row);
    const newest = await newestOf(tx, row.id, request.name);
    return create(PrepareSecretResponseSchema, {
      instanceId: idOf("instance", row.id),
      nextVersion: (newest?.version ?? 0n) + 1n,
      cell: (await visible.names(tx, "cell", [cellId])).get(cellId) ?? "",
      cellId: idOf("cell", cellId),
      agent: agent.name,
      agentId: idOf("agent", agent.id),
      identityKey: agent.identityKey,
      sealingKey: fromBinary(EnvelopeSchema, agent.sealingKey),
    });
  });
}

export async function setSecret(
  deps: AppDeps,
  call: Call,
  request: SetSecretRequest,
): Promise<SetSecretResponse> {
  const { name, version, sealed, validateOnly, requestId } = request;
  const agentId = uuidOf("agent", request.agentId, "agent_id");
  if (!isSealed(sealed)) {
    const rule = "not an age file with one X25519 recipient; seal the value before it is sent";
    throw refuse("sealed", rule, "SECRET_NOT_SEALED");
  }
  const { blueprint, releaseId } = await releaseFor(deps, call, request);
  const schemas = { requestSchema: SetSecretRequestSchema, answerSchema: SetSecretResponseSchema };
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const row = await instanceOf(tx, request, true);
    if (row.fields["release_id"] !== releaseId) {
      throw new Fault("ABORTED", "CONFLICT", `instance ${row.name}: its release changed meanwhile`);
    }
    checkSettable(blueprint, row, name);
    const agent = await activeAgent(tx, row);
    if (agent.id !== agentId) throw notActive(request, agent);
    const newest = await newestOf(tx, row.id, name);
    if (version !== (newest?.version ?? 0n) + 1n) throw versionTaken(request, newest);
    const stored = await secrets.insert(tx, {
      instanceId: row.id,
      name,
      version,
      agentId,
      agentTenantId: agent.tenantId,
      digest: digestOf(sealed),
      sealed,
      setBy: principalOf(call.caller),
    });
    await secrets.prune(tx, { instanceId: row.id, name, newest: version });
    const generation = await assignAnew(deps, tx, row, blueprint);
    const revision = await instances.touch(tx, row.id);
    await record(tx, actorOf(call), deps.clock.now(), {
      verb: "secret_set",
      kind: "instance",
      subject: { ...row, revision },
      after: {
        secret: name,
        version: version.toString(),
        agent: agent.name,
        generation: formatGeneration(generation),
      },
    });
    const declared = declarationOf(blueprint, name);
    const secret = secretView(declared, row, stored, agent.id, new Map([[agent.id, agent.name]]));
    return create(SetSecretResponseSchema, { secret, generation });
  });
}

export async function listSecrets(
  deps: AppDeps,
  call: Call,
  request: ListSecretsRequest,
): Promise<ListSecretsResponse> {
  const { blueprint } = await releaseFor(deps, call, request);
  return read(deps, call, async (tx) => {
    const row = await instanceOf(tx, request);
    const newest = await secrets.listNewest(tx, row.id);
    const active = await secrets.activeSealingKey(tx, String(row.fields["cell_id"]));
    const names = await secrets.agentNames(
      tx,
      newest.map(({ agentId }) => agentId),
    );
    const declared = blueprint.secrets.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return create(ListSecretsResponseSchema, {
      secrets: declared.map((each) => {
        const sealed = newest.find(({ name }) => name === each.name);
        return secretView(each, row, sealed, active?.id, names);
      }),
    });
  });
}

function instanceOf(tx: Tx, { instance: text, tenant }: Asked, lock = false): Promise<ObjectRow> {
  return tenantIdOf(tx, tenant, "tenant").then((tenantId) =>
    resolve(tx, { kind: "instance", table: INSTANCES, text, path: "instance", tenantId }, lock),
  );
}

type Release = Readonly<{ releaseId: string; blueprint: Blueprint }>;

/** What the instance's release declares; the vendor publishes it, so a tenant's own range does not show it. */
async function releaseFor(deps: AppDeps, call: Call, asked: Asked): Promise<Release> {
  const row = await read(deps, call, (tx) => instanceOf(tx, asked));
  const releaseId = String(row.fields["release_id"]);
  return readWithContext(deps.database, catalogueContextOf(call), async (tx) => {
    const [release] = await find(tx, RELEASES, { id: releaseId }, false);
    const bytes = release?.fields["envelope"] as Uint8Array | undefined;
    if (bytes === undefined) throw new Fault("INTERNAL", "RELEASE_LOST", `no release ${releaseId}`);
    const { payload } = fromBinary(EnvelopeSchema, bytes);
    return { releaseId, blueprint: fromBinary(BlueprintSchema, payload) };
  });
}

function localSecretsOf({ fields }: ObjectRow): Readonly<Record<string, string>> {
  return fields["local_secrets"] as Readonly<Record<string, string>>;
}

function checkSettable(blueprint: Blueprint, row: ObjectRow, name: string): void {
  if (row.deletedAt !== undefined) {
    const message = `instance ${row.name}: it is being deleted`;
    throw new Fault("FAILED_PRECONDITION", "DELETED", message);
  }
  declarationOf(blueprint, name);
  const localName = localSecretsOf(row)[name];
  if (localName === undefined) return;
  const rule = `the customer keeps it on the agent's host as ${localName}; take it out of local_secrets first`;
  throw unfit("name", rule, "SECRET_IS_LOCAL", `holdfast describe instance ${row.name}`);
}

function declarationOf({ secrets: all, product, version }: Blueprint, name: string) {
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  const known = all.map((each) => each.name).join(", ") || "none";
  const rule = `release ${version} of ${product} declares no such secret; it declares ${known}`;
  throw refuse("name", rule, "SECRET_UNKNOWN");
}

async function activeAgent(tx: Tx, { fields }: ObjectRow) {
  const agent = await secrets.activeSealingKey(tx, String(fields["cell_id"]));
  if (agent === undefined) {
    const rule =
      "no agent has joined the instance's cell yet, and only its agent can open a secret";
    throw unfit("instance", rule, "CELL_WITHOUT_AGENT", "holdfast get agents");
  }
  const { sealingKey } = agent;
  if (sealingKey !== null) return { ...agent, sealingKey };
  const rule = `agent ${agent.name} has not said what to seal to; it is too old or never connected`;
  throw unfit("instance", rule, "SEALING_KEY_MISSING", `holdfast describe agent ${agent.name}`);
}

async function newestOf(tx: Tx, instanceId: string, name: string) {
  const newest = await secrets.listNewest(tx, instanceId);
  return newest.find((each) => each.name === name);
}

/** The present wish with the present secrets, as the next generation. */
async function assignAnew(deps: AppDeps, tx: Tx, row: ObjectRow, blueprint: Blueprint) {
  const { vendorId } = tx.context;
  const place = { vendorId, cellId: String(row.fields["cell_id"]), instanceId: row.id };
  const references = await secretReferences(tx, blueprint, row.id, localSecretsOf(row));
  return await assignSecrets(deps, tx, place, references);
}

function notActive({ agentId }: SetSecretRequest, active: secrets.SealingKeyRow): Fault {
  const rule = `${agentId} is not the cell's active agent; ${idOf("agent", active.id)} is: seal to that one`;
  return unfit("agent_id", rule, "AGENT_NOT_ACTIVE");
}

function versionTaken(
  { name, version }: SetSecretRequest,
  newest: secrets.SecretRow | undefined,
): Fault {
  const present = newest === undefined ? "it has none yet" : `the present one is ${newest.version}`;
  const message = `secret ${name}: sealed as version ${version}; ${present}: seal it again`;
  return new Fault("ABORTED", "SECRET_VERSION", message);
}

function secretView(
  { name, description }: SecretDeclaration,
  row: ObjectRow,
  sealed: secrets.SecretRow | undefined,
  activeId: string | undefined,
  agents: ReadonlyMap<string, string>,
): Secret {
  const localName = localSecretsOf(row)[name];
  if (localName !== undefined) {
    return create(SecretSchema, { name, description, source: SecretSource.LOCAL, localName });
  }
  if (sealed === undefined) return create(SecretSchema, { name, description });
  return create(SecretSchema, {
    name,
    description,
    source: SecretSource.SEALED,
    version: sealed.version,
    agent: agents.get(sealed.agentId) ?? "",
    agentId: idOf("agent", sealed.agentId),
    setTime: timestampFromDate(sealed.setAt),
    setBy: sealed.setBy,
    needsReentry: sealed.agentId !== activeId,
  });
}
