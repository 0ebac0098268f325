/**
 * The hub's two agent listeners over the real use cases, and agents of a real cell with certificates of their own:
 * as raw HTTP/2 connections for what no agent sends, and as the agent's own client for what a healthy one does.
 */
import { randomBytes } from "node:crypto";
import { type ClientHttp2Session, connect } from "node:http2";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { signingKey } from "@holdfast/shared/dsse.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import type { ClientIdentity } from "../../agent/src/link/hub-client.ts";
import { identityHub } from "../../hub/src/app/link/identity.ts";
import { linkHub } from "../../hub/src/app/link/link-hub.ts";
import { type IdentityServer, startIdentityServer } from "../../hub/src/link/identity-server.ts";
import { type LinkServer, startLinkServer } from "../../hub/src/link/link-server.ts";
import { type LinkWatch, UNWATCHED } from "../../hub/src/link/watch.ts";
import type { TestHub } from "../../hub/src/testing-hub.ts";
import { enrolment, tlsKeyPair } from "../../hub/src/testing-product.ts";
import { quiet } from "../link/world.ts";

export type AgentListeners = Readonly<{
  link: LinkServer;
  identity: IdentityServer;
  stop(): Promise<void>;
}>;

export async function startListeners(
  { parts }: TestHub,
  watch: LinkWatch = UNWATCHED,
): Promise<AgentListeners> {
  const { app, keyring, state } = parts;
  const deps = {
    host: "127.0.0.1",
    port: 0,
    clock: systemClock,
    random: Math.random,
    log: quiet,
    tls: () => ({ ...state.certificate(), ticketKeys: keyring.ticketKeys }),
    authorities: () => keyring.authorities(),
    watch,
  };
  const link = await startLinkServer({ ...deps, hub: linkHub(app) });
  const identity = await startIdentityServer({ ...deps, hub: identityHub(app) });
  const stop = async () => {
    await Promise.all([link.stop(1_000), identity.stop(1_000)]);
  };
  return { link, identity, stop };
}

/** Joins the cell and gives what the agent connects with. */
export async function agentOf(hub: TestHub, cell: string): Promise<Required<ClientIdentity>> {
  const { client, tokens, parts } = hub;
  const { joinToken } = await client(CellService, tokens.owner).createJoinToken({ cell });
  const keys = await tlsKeyPair();
  const request = await enrolment(
    joinToken,
    "host",
    signingKey(randomBytes(32)),
    Promise.resolve(keys),
  );
  const answer = await identityHub(parts.app).enroll(request, { address: "127.0.0.1" });
  const key = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const { chain = [], roots = [] } = answer.certificate ?? {};
  return { roots, certificate: { chain, key } };
}

/** Bytes over TLS to a port of agents; without a certificate if none is given. */
export function rawSocket(port: number, { roots, certificate }: ClientIdentity): TLSSocket {
  const own =
    certificate === undefined
      ? {}
      : {
          cert: certificate.chain.map((der) => pemOf("CERTIFICATE", der)).join(""),
          key: pemOf("PRIVATE KEY", certificate.key),
        };
  return tlsConnect({
    port,
    host: "localhost",
    ALPNProtocols: ["h2"],
    ca: roots.map((der) => pemOf("CERTIFICATE", der)),
    ...own,
  });
}

/** A connection that speaks HTTP/2 as its owner likes. */
export async function rawSession(port: number, who: ClientIdentity): Promise<ClientHttp2Session> {
  const socket = rawSocket(port, who);
  const session = connect(`https://localhost:${port}`, { createConnection: () => socket });
  await new Promise<void>((resolve, reject) => {
    session.once("connect", () => resolve());
    session.once("error", reject);
  });
  session.on("error", () => undefined);
  return session;
}
