/** Test support: a vendor's product with signed releases and plans, and an agent that joins by its use cases. */
import { randomBytes, sign } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import "reflect-metadata";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { PlanService, TenancyModel } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { ProductService } from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { compileBlueprint } from "@holdfast/shared/blueprint/compile.ts";
import { parseBlueprint } from "@holdfast/shared/blueprint/draft.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import {
  rawPublicKeyOf,
  type SigningKey,
  signEnvelope,
  signingKey,
} from "@holdfast/shared/dsse.ts";
import { enrollProofBytes } from "@holdfast/shared/identity-proof.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import * as x509 from "@peculiar/x509";
import { parseApiToken } from "./app/api-token.ts";
import { identityHub } from "./app/link/identity.ts";
import type { AgentPrincipal, IdentityHub } from "./link/port.ts";
import { verifyAgentCertificate } from "./pki/agent-certificate.ts";
import type { TestHub } from "./testing-hub.ts";

/** Seed of the release key that tests sign with. */
export const RELEASE_KEY: SigningKey = signingKey(new Uint8Array(32).fill(7));
const ARTEFACT = Buffer.from("console.log('worker')\n");

/** Any hub's API and a token of the vendor's owner. */
export type ProductHub = Readonly<{
  client: TestHub["client"];
  tokens: Readonly<{ owner: string }>;
}>;

export function vendorIdOf({ tokens }: ProductHub): string {
  return parseApiToken(tokens.owner)?.vendorId ?? "";
}

/** The envelope of a release. `by` signs it. */
export function signedRelease(
  hub: ProductHub,
  version: string,
  number: number,
  by: SigningKey = RELEASE_KEY,
): Envelope {
  const document = {
    apiVersion: "holdfast/v1",
    kind: "Blueprint",
    product: "etl",
    version,
    number,
    parameters: {
      type: "object",
      properties: {
        source: { type: "string" },
        batchRows: { type: "integer", minimum: 1, maximum: 10_000, default: 500 },
      },
      required: ["source"],
    },
    secrets: [{ name: "dsn", description: "where to read" }],
    artefacts: [{ name: "worker", path: "dist" }],
    resources: [
      {
        id: "worker",
        kind: "process",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of the blueprint
        spec: { artefact: "worker", argv: ["node", "worker.mjs", "${params.source}"] },
      },
    ],
  };
  const blueprint = compileBlueprint(parseBlueprint(document), {
    vendorId: idOf("vendor", vendorIdOf(hub)),
    artefacts: [
      {
        name: "worker",
        digest: digestOf(ARTEFACT),
        size: ARTEFACT.length,
        mediaType: "application/x-tar",
      },
    ],
  });
  return signEnvelope("blueprint", toBinary(BlueprintSchema, blueprint), [by]);
}

export function keySet(
  hub: ProductHub,
  version: bigint,
  key: SigningKey,
  by: SigningKey,
): Envelope {
  const purpose = KeyPurpose.RELEASE;
  const set = create(KeySetSchema, {
    vendorId: idOf("vendor", vendorIdOf(hub)),
    version,
    purpose,
    keys: [{ keyId: key.keyId, purpose, publicKey: rawPublicKeyOf(key.privateKey) }],
  });
  return signEnvelope("keyset", toBinary(KeySetSchema, set), [by]);
}

/** Product etl with releases 1.0.0 and 1.1.0, plans free (pooled) and pro (dedicated), and a hosted cell. */
export async function offerProduct(hub: ProductHub): Promise<void> {
  const { client, tokens } = hub;
  const owner = tokens.owner;
  await client(HubService, owner).setKeySet({
    envelope: keySet(hub, 1n, RELEASE_KEY, RELEASE_KEY),
  });
  await client(ProductService, owner).createProduct({ product: { metadata: { name: "etl" } } });
  const releases = client(ReleaseService, owner);
  await uploadArtefact(hub);
  await releases.publishRelease({ envelope: signedRelease(hub, "1.0.0", 1) });
  await releases.publishRelease({ envelope: signedRelease(hub, "1.1.0", 2) });
  const plan = (name: string, tenancyModel: TenancyModel) => ({
    plan: {
      metadata: { name },
      spec: {
        product: "etl",
        tenancyModel,
        parameters: { batchRows: 100 },
        lockedParameters: ["batchRows"],
        allotments: [{ meter: "rows", amount: 1_000n }],
        seatsMax: 1,
      },
    },
  });
  await client(PlanService, owner).createPlan(plan("free", TenancyModel.POOLED));
  await client(PlanService, owner).createPlan(plan("pro", TenancyModel.DEDICATED));
  await client(CellService, owner).createCell({
    cell: { metadata: { name: "hosted" }, spec: { kind: CellKind.HOSTED, region: "eu" } },
  });
}

export async function uploadArtefact({ client, tokens }: ProductHub): Promise<void> {
  const digest = digestOf(ARTEFACT);
  const size = BigInt(ARTEFACT.length);
  const releases = client(ReleaseService, tokens.owner);
  await releases.uploadArtefact({ digest, offset: 0n, size, data: ARTEFACT.subarray(0, 5) });
  await releases.uploadArtefact({ digest, offset: 5n, size, data: ARTEFACT.subarray(5) });
}

export type JoinedAgent = Readonly<{
  principal: AgentPrincipal;
  identityHub: IdentityHub;
  /** Its identity key. */
  identity: SigningKey;
}>;

/** The key pair of an agent's certificate. */
export function tlsKeyPair() {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

/** What an agent sends with this token. */
export async function enrolment(
  joinToken: string,
  hostName = "host",
  { privateKey }: SigningKey = signingKey(randomBytes(32)),
  tlsKeys = tlsKeyPair(),
) {
  const keys = await tlsKeys;
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=ignored",
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  const certificateRequest = new Uint8Array(request.rawData);
  const proof = enrollProofBytes(joinToken, certificateRequest);
  return {
    $typeName: "holdfast.link.v1.EnrollRequest",
    joinToken,
    certificateRequest,
    identityKey: rawPublicKeyOf(privateKey),
    identityProof: sign(null, proof, privateKey),
    hostName,
    agentVersion: "test",
    cellId: "",
  } as const;
}

/** An ordinary one, or one to take over with where the cell has an agent. */
export async function tokenFor(hub: TestHub, cell: string): Promise<string> {
  const cells = hub.client(CellService, hub.tokens.owner);
  const found = (await cells.getCell({ cell })).cell;
  const isTaken = (found?.status?.activeAgent ?? "") !== "";
  const made = isTaken
    ? await cells.createTakeoverToken({ cell })
    : await cells.createJoinToken({ cell });
  return made.joinToken;
}

/** Joins a cell and gives who the certificate says it is. */
export async function joinCell(hub: TestHub, cell: string): Promise<JoinedAgent> {
  const { app, keyring } = hub.parts;
  const joinToken = await tokenFor(hub, cell);
  const hubOfIdentity = identityHub(app);
  const identity = signingKey(randomBytes(32));
  const request = await enrolment(joinToken, "host", identity);
  const answer = await hubOfIdentity.enroll(request, { address: "127.0.0.1" });
  const leaf = answer.certificate?.chain[0];
  const principal = verifyAgentCertificate(leaf, keyring.authorities(), app.clock.now(), 0);
  if (uuidOf("agent", answer.agentId) !== principal.agentId) throw new Error("another agent");
  return { principal, identityHub: hubOfIdentity, identity };
}
