/**
 * A small hub in this process for tests of the command line: real Connect over HTTP/2 on loopback, objects in
 * memory, and the refusals that the CLI has to show. What the real hub does is tested with the real hub.
 */

import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import {
  type ActionSchema,
  ActionService,
  type CreateActionRequest,
  type ListActionsRequest,
  type ListActionsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { type CellSchema, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { type EventSchema, EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import {
  type Instance,
  InstanceSchema,
  InstanceService,
  type RehearseInstanceRequest,
  type RehearseInstanceResponseSchema,
  type WatchOutputRequest,
  type WatchOutputResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import {
  type ListSecretsRequest,
  type ListSecretsResponseSchema,
  type PrepareSecretRequest,
  type PrepareSecretResponseSchema,
  SecretService,
  type SetSecretRequest,
  type SetSecretResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import {
  type LogRecordSchema,
  type MissingRecordSchema,
  type QueryLogsRequest,
  type TailLogsRequest,
  TelemetryService,
} from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { type Tenant, TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { type UsageLineSchema, UsageService } from "@holdfast/proto/holdfast/api/v1/usage_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { type KeySet, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { openEnvelope, verificationKey } from "@holdfast/shared/dsse.ts";

export const TOKEN = "hft_test";
export const VENDOR_ID = "ven_01980000000070008000000000000001";

export function refusal(
  code: Code,
  reason: string,
  message: string,
  fields: [string, string][] = [],
) {
  const info = { reason, domain: "holdfast.dev", metadata: {} };
  const bad = fields.map(([field, description]) => ({ field, description }));
  return new ConnectError(message, code, undefined, [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, info) },
    ...(bad.length === 0
      ? []
      : [{ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: bad }) }]),
  ]);
}

async function* none(): AsyncGenerator<never> {
  yield* [];
}

export type SecretAnswers = Readonly<{
  prepareSecret?(
    request: PrepareSecretRequest,
  ): MessageInitShape<typeof PrepareSecretResponseSchema>;
  setSecret?(request: SetSecretRequest): MessageInitShape<typeof SetSecretResponseSchema>;
  listSecrets?(request: ListSecretsRequest): MessageInitShape<typeof ListSecretsResponseSchema>;
}>;

export type ActionAnswers = Readonly<{
  createAction?(request: CreateActionRequest): MessageInitShape<typeof ActionSchema>;
  getAction?(id: string): MessageInitShape<typeof ActionSchema>;
  listActions?(request: ListActionsRequest): MessageInitShape<typeof ListActionsResponseSchema>;
  rehearseInstance?(
    request: RehearseInstanceRequest,
  ): MessageInitShape<typeof RehearseInstanceResponseSchema>;
  watchOutput?(
    request: WatchOutputRequest,
  ): AsyncIterable<MessageInitShape<typeof WatchOutputResponseSchema>>;
}>;

export class TestHub {
  readonly instances = new Map<string, Instance>();
  readonly tenants = new Map<string, Tenant>();
  readonly blobs = new Map<string, Buffer>();
  readonly keySets: KeySet[] = [];
  readonly requests: string[] = [];
  /** The answer whatever cell is asked for. */
  cell: MessageInitShape<typeof CellSchema> = {};
  events: MessageInitShape<typeof EventSchema>[] = [];
  lines: MessageInitShape<typeof LogRecordSchema>[] = [];
  missing: MessageInitShape<typeof MissingRecordSchema>[] = [];
  /** Requests for logs, as they came. */
  readonly asked: (QueryLogsRequest | TailLogsRequest)[] = [];
  usage: MessageInitShape<typeof UsageLineSchema>[] = [];
  published: string[] = [];
  /** Replaced by tests of secrets; of every instance. */
  secrets: SecretAnswers = {};
  /** Replaced by tests of actions and rehearsals. */
  actions: ActionAnswers = {};
  /** The next calls fail with this. */
  failing: ConnectError | undefined;
  /** Bytes of each part that are kept: an upload that breaks off. */
  partBytesMax = Number.POSITIVE_INFINITY;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();

  private constructor() {
    const handler = connectNodeAdapter({
      routes: (router) => this.#routes(router),
      interceptors: [
        (next) => async (request) => {
          this.requests.push(request.method.name);
          if (request.header.get("authorization") !== `Bearer ${TOKEN}`) {
            throw refusal(Code.Unauthenticated, "TOKEN_INVALID", "the token is not known");
          }
          if (this.failing !== undefined) throw this.failing;
          return await next(request);
        },
      ],
    });
    this.#server = createServer(handler);
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    await new Promise<void>((resolve) => hub.#server.listen(0, "127.0.0.1", resolve));
    return hub;
  }

  get api(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** `etl` in cell `eu`, serving its generation, changed as wanted. */
  putInstance(name: string, change: (instance: Instance) => void = () => undefined): void {
    const instance = create(InstanceSchema, {
      metadata: {
        id: `ins_${name}`,
        name,
        tenant: "acme",
        createTime: timestampFromMs(Date.now() - 7_200_000),
      },
      spec: { product: "etl", release: "1.0.0", plan: "pro", cell: "eu" },
      status: {
        generation: { incarnation: 1n, number: 1n },
        committedGeneration: { incarnation: 1n, number: 1n },
        committedRelease: "1.0.0",
        conditions: [{ type: "Ready", status: "True", reason: "SERVES", message: "" }],
      },
    });
    change(instance);
    this.instances.set(name, instance);
  }

  #instance(name: string): Instance {
    const found = this.instances.get(name);
    if (found !== undefined) return found;
    throw refusal(Code.NotFound, "INSTANCE_NOT_FOUND", `there is no instance ${name}`);
  }

  #routes(router: ConnectRouter): void {
    this.#objectRoutes(router);
    router.service(ActionService, {
      createAction: (request) => ({ action: this.actions.createAction?.(request) ?? {} }),
      getAction: ({ action }) => ({ action: this.actions.getAction?.(action) ?? {} }),
      listActions: (request) => this.actions.listActions?.(request) ?? {},
    });
    router.service(SecretService, {
      prepareSecret: (request) => this.secrets.prepareSecret?.(request) ?? {},
      setSecret: (request) => this.secrets.setSecret?.(request) ?? {},
      listSecrets: (request) => this.secrets.listSecrets?.(request) ?? {},
    });
    this.#releaseRoutes(router);
    router.service(EventService, {
      listEvents: ({ pageToken, pageSize }) => {
        // Newest first, as the command line asks.
        const start = pageToken === "" ? 0 : Number(pageToken);
        const events = this.events.toReversed().slice(start, start + pageSize);
        return { events, nextPageToken: String(start + events.length), watchToken: "end" };
      },
      watchEvents: async function* (this: void) {
        yield { event: { id: "evt_live", type: "instance.updated", subject: "instance/x" } };
      },
    });
    router.service(TelemetryService, {
      queryLogs: (request) => {
        this.asked.push(request);
        // Newest first, pages of one, so that paging is seen.
        const at = Number(request.pageToken || 0);
        const lines = this.lines.toReversed().slice(at, at + 1);
        const nextPageToken = at + 1 < this.lines.length ? String(at + 1) : "";
        return { lines, nextPageToken, missing: at === 0 ? this.missing : [] };
      },
      tailLogs: (request) => this.#tail(request),
    });
    router.service(UsageService, { queryUsage: () => ({ lines: this.usage, nextPageToken: "" }) });
    router.service(CellService, {
      getCell: () => ({ cell: this.cell }),
      createJoinToken: ({ cell, ttl }) => ({
        joinToken: `hfj_${cell}_${ttl?.seconds ?? "default"}`,
        expireTime: timestampFromMs(0),
      }),
      createTakeoverToken: ({ cell }) => ({
        joinToken: `hfj_over_${cell}`,
        expireTime: timestampFromMs(0),
        replaces: `${cell}-1`,
      }),
    });
    router.service(MemberService, {
      createToken: ({ member }) => ({ tokenId: "tok_1", token: `hft_${member}` }),
      whoAmI: () => ({
        vendor: "vendor",
        permissions: ["instance.get"],
        member: { metadata: { name: "owner" }, spec: { grants: [{ role: 1 }] } },
      }),
    });
  }

  /** One line, and then the connection breaks; the rest for who comes again. */
  async *#tail(request: TailLogsRequest) {
    this.asked.push(request);
    const [first, ...rest] = this.lines;
    if (request.pageToken === "") {
      yield { lines: first === undefined ? [] : [first], pageToken: "1" };
      throw refusal(Code.Unavailable, "STOPPING", "the hub is stopping");
    }
    yield { lines: rest, missing: this.missing, pageToken: "end" };
    await new Promise(() => undefined);
  }

  #objectRoutes(router: ConnectRouter): void {
    router.service(TenantService, {
      getTenant: ({ tenant }) => {
        const found = this.tenants.get(tenant);
        if (found === undefined) throw refusal(Code.NotFound, "TENANT_NOT_FOUND", "no such tenant");
        return { tenant: found };
      },
      updateTenant: ({ tenant }) => {
        if (tenant?.metadata) this.tenants.set(tenant.metadata.name, tenant);
        return tenant ? { tenant } : {};
      },
    });
    router.service(InstanceService, {
      rehearseInstance: (request) => this.actions.rehearseInstance?.(request) ?? {},
      watchOutput: (request) => this.actions.watchOutput?.(request) ?? none(),
      getInstance: ({ instance }) => ({ instance: this.#instance(instance) }),
      listInstances: ({ pageToken }) => {
        // Pages of one, so that paging is seen.
        const all = [...this.instances.values()];
        const at = pageToken === "" ? 0 : Number(pageToken);
        const nextPageToken = at + 1 < all.length ? String(at + 1) : "";
        return { instances: all.slice(at, at + 1), nextPageToken };
      },
      updateInstance: ({ instance, validateOnly }) => {
        if (instance?.metadata === undefined) throw refusal(Code.InvalidArgument, "EMPTY", "empty");
        const { name } = instance.metadata;
        if (instance.spec?.release === "9.9.9") {
          const field: [string, string] = ["spec.release", "there is no release 9.9.9 of etl"];
          throw refusal(Code.InvalidArgument, "INSTANCE_INVALID", field.join(": "), [field]);
        }
        const before = this.instances.get(name);
        const status = before?.status ?? create(InstanceSchema, { status: {} }).status;
        const after = create(InstanceSchema, {
          metadata: instance.metadata,
          ...(instance.spec && { spec: instance.spec }),
          ...(status && { status }),
        });
        if (!validateOnly) this.instances.set(name, after);
        return { instance: after };
      },
      deleteInstance: ({ instance }) => {
        const found = this.#instance(instance);
        if (found.metadata) found.metadata.finalizers = ["agent"];
        this.instances.delete(instance);
        return { instance: found };
      },
    });
  }

  #releaseRoutes(router: ConnectRouter): void {
    router.service(HubService, {
      getHub: () => ({ version: "0", vendorId: VENDOR_ID, vendor: "vendor" }),
      listKeySets: () => ({ keySets: this.keySets }),
      setKeySet: ({ envelope }) => {
        const set = fromBinary(KeySetSchema, envelope?.payload ?? new Uint8Array());
        const signers = this.keySets.at(-1)?.keys ?? set.keys;
        openEnvelope(
          "keyset",
          envelope,
          signers.map(({ publicKey }) => verificationKey(publicKey)),
        );
        this.keySets.push(set);
        return { keySet: set };
      },
    });
    router.service(ReleaseService, {
      statArtefact: ({ digest }) => {
        const held = this.blobs.get(digest) ?? Buffer.alloc(0);
        return {
          complete: held.length > 0 && digestOf(held) === digest,
          offset: BigInt(held.length),
        };
      },
      uploadArtefact: ({ digest, offset, data }) => {
        const held = this.blobs.get(digest) ?? Buffer.alloc(0);
        const part = Buffer.from(data).subarray(0, this.partBytesMax);
        const isNext = Number(offset) === held.length;
        const now = isNext ? Buffer.concat([held, part]) : held;
        this.blobs.set(digest, now);
        return { complete: digestOf(now) === digest, offset: BigInt(now.length) };
      },
      publishRelease: ({ envelope }) => {
        const keys = this.keySets.flatMap((set) => set.keys);
        const trusted = keys.map(({ publicKey }) => verificationKey(publicKey));
        const { payload } = openEnvelope("blueprint", envelope, trusted);
        const blueprint = fromBinary(BlueprintSchema, payload);
        const name = `${blueprint.product}-${blueprint.version}`;
        this.published.push(name);
        return { release: { metadata: { name }, spec: { product: blueprint.product } } };
      },
    });
  }
}
