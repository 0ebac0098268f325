/** Enrolment and renewal against the real identity listener, with tokens and certificates of any age. */
import { sign } from "node:crypto";
import { connect, createServer } from "node:tls";
import { create } from "@bufbuild/protobuf";
import {
  type EnrollRequest,
  EnrollRequestSchema,
  IdentityService,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { rawPublicKeyOf, signingKey } from "@holdfast/shared/dsse.ts";
import type { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { enrollProofBytes } from "@holdfast/shared/identity-proof.ts";
import { encodeJoinToken, parseJoinToken } from "@holdfast/shared/join-token.ts";
import { describe, expect, it } from "vitest";
import { newIdentitySeed, newTlsKeyRequest } from "../../agent/src/link/certificate-request.ts";
import { callUnary, clientIdentityOf } from "../../agent/src/link/hub-client.ts";
import { renewCertificate } from "../../agent/src/link/renewal.ts";
import { createAuthority } from "../../hub/src/pki/authority.ts";
import { issueServerCertificate } from "../../hub/src/pki/server-certificate.ts";
import { cleanups, connect as connectLink, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { clientTo, listening, rawControl, shownFault } from "./raw.ts";
import { eventually } from "./world.ts";

const DAY_MS = 86_400_000;
const signal = AbortSignal.timeout(60_000);

async function failureOf(work: Promise<unknown>): Promise<Fault> {
  return work.then(
    () => Promise.reject(new Error("it was accepted")),
    (error: Fault) => error,
  );
}

async function enrolRequest(joinToken: string): Promise<EnrollRequest> {
  const { certificateRequest } = await newTlsKeyRequest();
  const { privateKey } = signingKey(newIdentitySeed());
  return create(EnrollRequestSchema, {
    joinToken,
    certificateRequest,
    identityKey: rawPublicKeyOf(privateKey),
    identityProof: sign(null, enrollProofBytes(joinToken, certificateRequest), privateKey),
  });
}

describe("enrolling", () => {
  it("is refused with one text for every fault of a token, and the cause stays inside", async () => {
    const { world } = await fleet();
    const token = world.token();
    await enrolled(world, token);
    const used = await failureOf(enrolled(world, token));
    const unknown = await failureOf(
      enrolled(world, encodeJoinToken({ ...parseJoinToken(token), secret: "x".repeat(43) })),
    );
    expect(shownFault(used)).toBe("UNAUTHENTICATED JOIN_TOKEN_REFUSED");
    expect(unknown.message).toBe(used.message);
    expect(unknown.next).toBe("holdfast cell token CELL");
  });

  it("with one token 200 times at once succeeds exactly once", async () => {
    const { world } = await fleet();
    const request = await enrolRequest(world.token());
    const roots = [world.serverAuthority.certificate];
    const clients = Array.from({ length: 20 }, () => clientTo(world.ports.identity, { roots }));
    const calls = clients.flatMap((client) =>
      Array.from({ length: 10 }, () =>
        callUnary(client, grpcService(IdentityService).enroll, request, {
          deadlineMs: 60_000,
        }).then(
          () => "enrolled",
          ({ code }: Fault) => code,
        ),
      ),
    );
    const counts = Object.groupBy(await Promise.all(calls), (each) => each);
    expect(counts["enrolled"]).toHaveLength(1);
    const refused = [...(counts["UNAUTHENTICATED"] ?? []), ...(counts["RESOURCE_EXHAUSTED"] ?? [])];
    expect(refused).toHaveLength(199);
  });

  it("is refused for a minute after ten failures from one address", async () => {
    const { world } = await fleet();
    const { identity } = world.ports;
    const client = clientTo(identity, { roots: [world.serverAuthority.certificate] });
    const attempt = async () =>
      shownFault(
        await failureOf(
          callUnary(client, grpcService(IdentityService).enroll, create(EnrollRequestSchema), {
            deadlineMs: 5_000,
          }),
        ),
      );
    for (let i = 0; i < 10; i++) expect(await attempt()).toBe("UNAUTHENTICATED JOIN_TOKEN_REFUSED");
    expect(await attempt()).toBe("RESOURCE_EXHAUSTED ENROLL_FAILURES_TOO_MANY");
  });

  it("sends nothing to a server whose root is not the token's", async () => {
    const { world } = await fleet();
    const other = await createAuthority("hub", Date.now());
    const server = await issueServerCertificate(other, [], Date.now());
    const seen: Buffer[] = [];
    const fake = createServer(
      { cert: server.certificate, key: server.privateKey, ALPNProtocols: ["h2"] },
      (socket) => {
        socket.on("error", () => undefined);
        socket.on("data", (data) => seen.push(data));
      },
    );
    cleanups.push(() => fake.close());
    world.ports.identity = await listening(fake);
    const fault = await failureOf(enrolled(world));
    expect(fault.message).toMatch(/server identity not accepted: fingerprint/);
    expect(seen).toEqual([]);
  });
});

describe("an expired certificate", () => {
  it.each([
    { age: "1 s", ms: 1_000, renew: "accepted" },
    { age: "34 days", ms: 34 * DAY_MS, renew: "accepted" },
    { age: "36 days", ms: 36 * DAY_MS, renew: "UNAUTHENTICATED CERTIFICATE_EXPIRED" },
  ])("of $age is refused by the link; renewing: $renew", async ({ ms, renew }) => {
    const { world } = await fleet();
    // Issued so long ago that it is really expired, for TLS as well as for our own clock.
    world.clock.offsetMs = -DAY_MS - ms;
    const agent = await enrolled(world);
    world.clock.offsetMs = 0;
    const client = clientTo(world.ports.link, clientIdentityOf(agent.identity()));
    expect(await rawControl(client).ended).toMatch(/^UNAVAILABLE/);
    const outcome = await renewCertificate(
      agent.identity(),
      `localhost:${world.ports.identity}`,
      signal,
    ).then(() => "accepted", shownFault);
    expect(outcome).toBe(renew);
  });

  it("is refused by our own clock too, where TLS would still take it", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    world.clock.offsetMs = DAY_MS + 60_000;
    const client = clientTo(world.ports.link, clientIdentityOf(agent.identity()));
    expect(await rawControl(client).ended).toBe("UNAUTHENTICATED CERTIFICATE_EXPIRED");
  });

  it("is renewed by the agent itself, which then connects: Friday's fleet works on Monday", async () => {
    const { world, hub } = await fleet();
    world.clock.offsetMs = -4 * DAY_MS;
    const agent = await enrolled(world);
    world.clock.offsetMs = 0;
    connectLink(agent);
    await eventually("the link", () => agent.isUp);
    expect(agent.renewals).toBe(1);
    expect(hub.hellos).toHaveLength(1);
  });

  it("cannot be renewed by another identity key", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    const stolen = { ...agent.identity(), identitySeed: new Uint8Array(32) };
    const endpoint = `localhost:${world.ports.identity}`;
    const fault = await failureOf(renewCertificate(stolen, endpoint, signal));
    expect(shownFault(fault)).toBe("UNAUTHENTICATED PROOF_BAD");
  });
});

describe("renewing", () => {
  it("is bounded for each agent", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    const endpoint = `localhost:${world.ports.identity}`;
    for (let n = 0; n < 5; n++) await renewCertificate(agent.identity(), endpoint, signal);
    const fault = await failureOf(renewCertificate(agent.identity(), endpoint, signal));
    expect(shownFault(fault)).toBe("RESOURCE_EXHAUSTED RENEWALS_TOO_MANY");
  });

  it("while connected moves the link to the new certificate", async () => {
    const { world } = await fleet();
    world.clock.offsetMs = -15 * 3_600_000;
    const agent = await enrolled(world);
    world.clock.offsetMs = 0;
    const before = agent.identity().certificate.chain[0];
    connectLink(agent);
    await eventually("the renewal", () => agent.renewals === 1);
    await eventually("the link again", () => agent.welcomes.length === 2 && agent.isUp);
    expect(agent.identity().certificate.chain[0]).not.toEqual(before);
  });
});

describe("the identity listener", () => {
  it("speaks TLS 1.3 only and serves nothing but identity", async () => {
    const { world } = await fleet();
    const { identity } = world.ports;
    const outcome = await new Promise<string>((resolve) => {
      const socket = connect({
        port: identity,
        host: "127.0.0.1",
        maxVersion: "TLSv1.2",
        rejectUnauthorized: false,
      });
      socket.on("secureConnect", () => resolve("connected"));
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    });
    expect(outcome).toMatch(/PROTOCOL_VERSION/);
    const agent = await enrolled(world);
    const client = clientTo(identity, clientIdentityOf(agent.identity()));
    expect(await rawControl(client).ended).toMatch(/^UNIMPLEMENTED/);
  });
});
