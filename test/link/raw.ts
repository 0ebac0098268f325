/** Hostile and clumsy peers: calls with any identity, a server with any certificate, a proxy that goes silent. */

import { connect, createServer, type Server, type Socket } from "node:net";
import { Client, type ClientDuplexStream, Metadata } from "@grpc/grpc-js";
import {
  type ControlRequest,
  type ControlResponse,
  LinkService,
  type ReportRequest,
  type ReportResponse,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import { HubCredentials } from "../../agent/src/link/credentials.ts";
import {
  type ClientIdentity,
  clientIdentityOf,
  type HubClient,
  hubClient,
} from "../../agent/src/link/hub-client.ts";
import type { Identity } from "../../agent/src/link/port.ts";
import { cleanups } from "./fleet.ts";

export function clientTo(port: number, identity: ClientIdentity): HubClient {
  const client = hubClient(`localhost:${port}`, identity);
  cleanups.push(() => client.close());
  return client;
}

/** A client of the agent's identity that does not check what it sends, as a hostile one would not. */
export function uncheckedClientTo(port: number, identity: Identity): HubClient {
  const client = clientTo(port, clientIdentityOf(identity));
  const { certificate, tlsKey } = identity;
  const credentials = new HubCredentials({
    host: "localhost",
    roots: certificate.roots.map((der) => pemOf("CERTIFICATE", der)),
    certificate: {
      chain: certificate.chain.map((der) => pemOf("CERTIFICATE", der)).join(""),
      key: pemOf("PRIVATE KEY", tlsKey),
    },
    ticket: {},
  });
  const grpc = new Client(`dns:localhost:${port}`, credentials, {
    "grpc.max_send_message_length": -1,
  });
  cleanups.push(() => grpc.close());
  return { ...client, grpc };
}

export type RawCall<Request, Response> = Readonly<{
  call: ClientDuplexStream<Request, Response>;
  responses: Response[];
  /** How the call ended: `CODE REASON`. */
  ended: Promise<string>;
}>;

function raw<Request, Response>(
  client: HubClient,
  call: ClientDuplexStream<Request, Response>,
): RawCall<Request, Response> {
  const responses: Response[] = [];
  call.on("data", (response: Response) => responses.push(response));
  const ended = new Promise<string>((resolve) => {
    call.on("error", (error) => resolve(shownFault(client.faultOf(error))));
    call.on("end", () => setTimeout(() => resolve("OK"), 50));
  });
  return { call, responses, ended };
}

export function shownFault({ code, reason }: Fault): string {
  return `${code} ${reason}`;
}

export function rawControl(client: HubClient): RawCall<ControlRequest, ControlResponse> {
  const { path, requestSerialize, responseDeserialize } = grpcService(LinkService).control;
  return raw(
    client,
    client.grpc.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata()),
  );
}

export function rawReport(client: HubClient): RawCall<ReportRequest, ReportResponse> {
  const { path, requestSerialize, responseDeserialize } = grpcService(LinkService).report;
  return raw(
    client,
    client.grpc.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata()),
  );
}

/** A TCP proxy to a port; `hole()` makes it swallow all bytes of present connections without closing them. */
export async function proxyTo(port: () => number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port(), "127.0.0.1");
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  const own = await listening(server);
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: own,
    hole: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.resume();
      }
    },
  };
}

export function listening(server: Server, host = "127.0.0.1"): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}
