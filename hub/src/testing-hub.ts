/**
 * Test support: the hub's real API on a free port over a real database, with two vendors and members of all
 * sorts. Calls go over the wire; nothing of the hub is replaced.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { MemberService, Role } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterAll, beforeAll } from "vitest";
import { createVendor } from "./app/vendors.ts";
import { readConfig } from "./config.ts";
import { type HubParts, openParts } from "./hub-parts.ts";
import { createMetrics } from "./metrics.ts";
import { hubFigures, startApi } from "./serve.ts";
import { silentLog, startTestStore, type TestStore } from "./store/testing.ts";
import { runSequencer } from "./tasks/sequencer.ts";

const START_MS_MAX = 60_000;

export type TestHub = Readonly<{
  parts: HubParts;
  /** host:port; speaks with and without TLS. */
  address: string;
  caFile: string;
  /** Tokens by who holds them. */
  tokens: Tokens;
  client<S extends DescService>(service: S, token?: string): Client<S>;
  close(): Promise<void>;
}>;

export type Tokens = Readonly<{
  /** Of the vendor. */
  owner: string;
  viewer: string;
  /** Of tenants of the vendor. */
  acmeOwner: string;
  acmeViewer: string;
  globexOwner: string;
  /** Of another vendor on the same hub. */
  strangerOwner: string;
}>;

/** Over this store, or one of its own; closes it in the end. */
export async function startTestHub(prepared?: TestStore): Promise<TestHub> {
  const store = prepared ?? (await startTestStore());
  const dataDir = await mkdtemp(join(tmpdir(), "hf-hub-"));
  const ownerTokenFile = join(dataDir, "owner");
  const config = readConfig({
    file: { data_dir: dataDir, api_listen: "127.0.0.1:0", owner_token_file: ownerTokenFile },
    fileName: "test",
    fileDirectory: dataDir,
    env: {},
    workingDirectory: dataDir,
  }).values;
  const host = { clock: systemClock, log: silentLog, version: "test", print: () => undefined };
  const parts = await openParts(config, host, store.database);
  const { app, keyring, bells, state } = parts;
  const stopping = new AbortController();
  const metrics = createMetrics(() => hubFigures(app, state));
  const server = await startApi(config, {
    app,
    keyring,
    metrics,
    state,
    stopping,
  });
  const sequencer = runSequencer(
    {
      database: app.database,
      clock: systemClock,
      log: silentLog,
      replica: "test",
      sign: () => ({ keyId: "test", signature: new Uint8Array(64) }),
      onSequenced: (vendorId) => bells.ring(vendorId),
    },
    stopping.signal,
  );
  const address = `127.0.0.1:${server.address.port}`;
  const client = clientsOf(address);
  const owner = (await readFile(ownerTokenFile, "utf8")).trim();
  const stranger = { token: "" };
  const vendorDeps = { database: app.database, wrapper: app.wrapper, clock: systemClock };
  await createVendor(vendorDeps, "stranger", async (token) => {
    stranger.token = token;
  });
  await keyring.refresh();
  return {
    parts,
    address,
    caFile: join(dataDir, "ca.pem"),
    tokens: { owner, strangerOwner: stranger.token, ...(await populate(client, owner)) },
    client,
    async close() {
      stopping.abort();
      await server.close(1_000);
      await sequencer;
      await app.telemetry.close();
      await store.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The file's own hub; call the result inside of tests. */
export function useTestHub(): () => TestHub {
  let hub: TestHub | undefined;
  beforeAll(async () => {
    hub = await startTestHub();
  }, START_MS_MAX);
  afterAll(async () => hub?.close(), START_MS_MAX);
  return () => {
    if (hub === undefined) throw new Error("the hub is not started yet");
    return hub;
  };
}

function clientsOf(address: string) {
  return <S extends DescService>(service: S, token = ""): Client<S> =>
    createClient(
      service,
      createConnectTransport({
        baseUrl: `http://${address}`,
        httpVersion: "1.1",
        interceptors: [
          (next) => (request) => {
            if (token !== "") request.header.set("authorization", `Bearer ${token}`);
            return next(request);
          },
        ],
      }),
    );
}

/** Two tenants with a cell each, and members that may do different things. */
async function populate(
  client: TestHub["client"],
  owner: string,
): Promise<Omit<Tokens, "owner" | "strangerOwner">> {
  const tenants = client(TenantService, owner);
  const cells = client(CellService, owner);
  for (const name of ["acme", "globex"]) {
    await tenants.createTenant({ tenant: { metadata: { name } } });
    const metadata = { name: `${name}-cell`, tenant: name };
    await cells.createCell({ cell: { metadata, spec: { kind: CellKind.BYOA, region: "local" } } });
  }
  const members = client(MemberService, owner);
  const tokenOf = async (name: string, role: Role, tenant = "") => {
    await members.createMember({
      member: { metadata: { name, tenant }, spec: { grants: [{ role }] } },
    });
    return (await members.createToken({ member: name, tenant })).token;
  };
  return {
    viewer: await tokenOf("viewer", Role.VIEWER),
    acmeOwner: await tokenOf("owner", Role.OWNER, "acme"),
    acmeViewer: await tokenOf("auditor", Role.VIEWER, "acme"),
    globexOwner: await tokenOf("owner", Role.OWNER, "globex"),
  };
}
