/**
 * Joins a cell with a one-time token. The token's fingerprint is the root of trust: a first connection only
 * reads which root the server presents, and the token goes over a second one that trusts exactly that root.
 * Keeps nothing itself: the caller stores what it returns before it is used.
 */
import { sign } from "node:crypto";
import { isIP } from "node:net";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { create } from "@bufbuild/protobuf";
import {
  EnrollRequestSchema,
  type EnrollResponse,
  IdentityService,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { rawPublicKeyOf, signingKey } from "@holdfast/shared/dsse.ts";
import { asFault, Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { enrollProofBytes } from "@holdfast/shared/identity-proof.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { type JoinToken, parseJoinToken } from "@holdfast/shared/join-token.ts";
import { newIdentitySeed, newTlsKeyRequest } from "./link/certificate-request.ts";
import { describeTlsFailure } from "./link/credentials.ts";
import { callUnary, type HubClient, hostOf, hubClient } from "./link/hub-client.ts";
import type { Identity } from "./link/port.ts";
import { fingerprintOf, IDENTITY_CALL_MS_MAX, usable } from "./link/renewal.ts";

const PROBE_MS_MAX = 10_000;
/** A chain longer than this is not one of ours. */
const CHAIN_MAX = 8;

export type EnrollOptions = Readonly<{
  /** As read from a file or standard input; never an argument. */
  token: string;
  hostName: string;
  agentVersion: string;
  /** Whose workloads the agent holds already: a token for another cell is then refused, unspent. */
  cellId?: string;
  signal: AbortSignal;
}>;

export type Enrolled = Readonly<{
  identity: Identity;
  /** Release and assignment key sets to pin. */
  keySets: readonly Envelope[];
  incarnation: bigint;
}>;

/**
 * Tries the token's endpoints in order until one answers; an answer, also a refusal, is final. Throws
 * UNAUTHENTICATED `TOKEN_DAMAGED` without any call, UNAVAILABLE `SERVER_NOT_ACCEPTED` if the server is not the
 * one that the token names, or the hub's fault.
 */
export async function enroll(options: EnrollOptions): Promise<Enrolled> {
  const token = parseJoinToken(options.token);
  let last: Fault | undefined;
  for (const endpoint of token.identityEndpoints) {
    try {
      const client = hubClient(endpoint, { roots: [await pinnedRoot(endpoint, token)] });
      try {
        return await enrollOver(client, token, options);
      } finally {
        client.close();
      }
    } catch (error) {
      const fault = asFault(error, "could not enrol");
      if (fault.code !== "UNAVAILABLE") throw fault;
      last = fault;
    }
  }
  throw last ?? new Fault("UNAVAILABLE", "ENDPOINT_MISSING", "the token names no endpoint");
}

/** Over a connection that trusts exactly the token's root; it may serve any number of agents. */
export async function enrollOver(
  client: HubClient,
  token: JoinToken,
  options: EnrollOptions,
): Promise<Enrolled> {
  const identitySeed = newIdentitySeed();
  const { privateKey } = signingKey(identitySeed);
  const { tlsKey, certificateRequest } = await newTlsKeyRequest();
  const joinToken = options.token.trim();
  const response = await callUnary(
    client,
    grpcService(IdentityService).enroll,
    create(EnrollRequestSchema, {
      joinToken,
      certificateRequest,
      identityKey: rawPublicKeyOf(privateKey),
      identityProof: sign(null, enrollProofBytes(joinToken, certificateRequest), privateKey),
      hostName: options.hostName,
      agentVersion: options.agentVersion,
      cellId: options.cellId ?? "",
    }),
    { deadlineMs: IDENTITY_CALL_MS_MAX, signal: options.signal },
  );
  const identity = identityOf(response, token, tlsKey, identitySeed);
  return { identity, keySets: response.keySets, incarnation: response.incarnation };
}

function identityOf(
  response: EnrollResponse,
  token: JoinToken,
  tlsKey: Uint8Array,
  identitySeed: Uint8Array,
): Identity {
  const { vendorId, cellId, agentId, fencing, linkEndpoints, identityEndpoints } = response;
  const refuse = (what: string) =>
    new Fault("FAILED_PRECONDITION", "ENROLMENT_UNUSABLE", `the hub's answer: ${what}`);
  if (vendorId !== idOf("vendor", token.vendorId)) throw refuse("it is for another vendor");
  if (linkEndpoints.length === 0 || identityEndpoints.length === 0) {
    throw refuse("it names no endpoints");
  }
  const certificate = usable(response.certificate, tlsKey);
  if (!certificate.roots.some((root) => fingerprintOf(root) === token.rootFingerprint)) {
    throw refuse("it drops the root that the token names");
  }
  return {
    vendorId,
    cellId,
    agentId,
    fencing,
    tlsKey,
    identitySeed,
    certificate,
    linkEndpoints,
    identityEndpoints,
  };
}

/** DER of the root in the presented chain that has the token's fingerprint. Nothing is sent to the server. */
export function pinnedRoot(endpoint: string, token: JoinToken): Promise<Uint8Array> {
  const host = hostOf(endpoint);
  const port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: isIP(host) === 0 ? host : "",
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.3",
      timeout: PROBE_MS_MAX,
      // The chain is only read here; the call itself goes over a connection that is checked in full.
      rejectUnauthorized: false,
    });
    const fail = (reason: string, message: string, cause?: unknown) => {
      socket.destroy();
      reject(new Fault("UNAVAILABLE", reason, `${endpoint}: ${message}`, { cause }));
    };
    socket.once("error", (error) => fail("HUB_UNREACHABLE", describeTlsFailure(error), error));
    socket.once("timeout", () => fail("HUB_UNREACHABLE", `no answer within ${PROBE_MS_MAX} ms`));
    socket.once("secureConnect", () => {
      const roots = chainOf(socket.getPeerCertificate(true));
      const root = roots.find((der) => fingerprintOf(der) === token.rootFingerprint);
      if (root === undefined) {
        fail("SERVER_NOT_ACCEPTED", "server identity not accepted: fingerprint (not the token's)");
        return;
      }
      socket.destroy();
      resolve(root);
    });
  });
}

function chainOf(leaf: DetailedPeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let at: DetailedPeerCertificate | undefined = leaf;
  while (at?.raw !== undefined && chain.length < CHAIN_MAX) {
    chain.push(at.raw);
    // A root names itself as its issuer.
    at = at.issuerCertificate === at ? undefined : at.issuerCertificate;
  }
  return chain;
}
