/** One warm HTTP/2 connection to the API of a bench's fleet, as its owner. */
import { readFileSync } from "node:fs";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Fleet } from "../../scripts/fleet/fleet.ts";

export type ApiConnection = Readonly<{
  client<S extends DescService>(service: S): Client<S>;
  close(): void;
}>;

export function connect(fleet: Fleet): ApiConnection {
  const baseUrl = `https://${fleet.endpoints()?.api}`;
  const ca = readFileSync(fleet.layout.hub.ca);
  const token = readFileSync(fleet.layout.hub.ownerToken, "utf8").trim();
  const sessionManager = new Http2SessionManager(baseUrl, {}, { ca });
  const transport = createConnectTransport({
    httpVersion: "2",
    baseUrl,
    sessionManager,
    useBinaryFormat: true,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return {
    client: (service) => createClient(service, transport),
    close: () => sessionManager.abort(),
  };
}
