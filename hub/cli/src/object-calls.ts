/**
 * The standard methods of one kind at one hub. Requests and answers of all services are named alike, so that one
 * implementation of each verb serves all kinds.
 */
import {
  create,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import { Fault } from "@holdfast/shared/fault.ts";
import type { HubClient } from "./hub-client.ts";
import type { Kind, KindModule, StandardVerb } from "./kinds.ts";

/** An object as proto JSON: `metadata`, `spec`, `status`. */
export type ObjectView = JsonObject;

const PAGE_SIZE = 500;

/** What a list can be narrowed and sorted by, besides its owner. Which of them a kind knows is in kinds.ts. */
export type ListFilters = Readonly<{
  labels?: Readonly<Record<string, string>>;
  release?: string;
  cell?: string;
  instance?: string;
  filter?: string;
  orderBy?: string;
}>;

/** `tenant` stands for the one that the manifest of a tenant's own object leaves out. */
export function ownedBy(kind: Kind, object: ObjectView, tenant: string | undefined): ObjectView {
  const metadata = (object["metadata"] ?? {}) as ObjectView;
  const isOpen = kind.name === "subscription" && !metadata["tenant"];
  return !isOpen || tenant === undefined
    ? object
    : { ...object, metadata: { ...metadata, tenant } };
}

type LooseCall = (input: object, options?: object) => Promise<Readonly<Record<string, unknown>>>;
export type MutationOptions = Readonly<{ requestId: string; isDryRun: boolean }>;

/** The standard methods of one kind at one hub. */
export class ObjectCalls {
  readonly kind: Kind;
  readonly #hub: HubClient;
  readonly #module: KindModule;

  constructor(kind: Kind, hub: HubClient, module: KindModule) {
    this.kind = kind;
    this.#hub = hub;
    this.#module = module;
  }

  static async of(kind: Kind, hub: HubClient): Promise<ObjectCalls> {
    return new ObjectCalls(kind, hub, await kind.load());
  }

  async get(name: string, tenant: string | undefined): Promise<ObjectView> {
    return this.#one(await this.#call("get", { [this.kind.name]: name, ...this.#whose(tenant) }));
  }

  /** Undefined if there is none. */
  async find(name: string, tenant: string | undefined): Promise<ObjectView | undefined> {
    try {
      return await this.get(name, tenant);
    } catch (error) {
      if (error instanceof Fault && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** One page and the token of the next, empty at the end. `filters` are fields of the kind's list request. */
  async list(
    tenant: string | undefined,
    filters: ListFilters,
    pageToken: string,
    pageSize: number = PAGE_SIZE,
  ): Promise<Readonly<{ items: readonly ObjectView[]; nextPageToken: string }>> {
    const query = { pageSize, pageToken, ...this.#whose(tenant), ...filters };
    const answer = await this.#call("list", query);
    const found = answer[this.kind.plural] as readonly Message[];
    const items = found.map((each) => this.#view(each));
    return { items, nextPageToken: String(answer["nextPageToken"]) };
  }

  /** Creates it or makes it so. */
  async apply(object: ObjectView, { requestId, isDryRun }: MutationOptions): Promise<ObjectView> {
    const message = fromJson(this.#module.schema, object as JsonValue);
    const input = {
      [this.kind.name]: message,
      allowMissing: true,
      validateOnly: isDryRun,
      requestId,
    };
    return this.#one(await this.#call("update", input));
  }

  /** Throws ALREADY_EXISTS `NAME_TAKEN`. */
  async create(object: ObjectView, { requestId, isDryRun }: MutationOptions): Promise<ObjectView> {
    const message = fromJson(this.#module.schema, object as JsonValue);
    const input = { [this.kind.name]: message, validateOnly: isDryRun, requestId };
    return this.#one(await this.#call("create", input));
  }

  async delete(
    name: string,
    tenant: string | undefined,
    { requestId, isDryRun }: MutationOptions,
  ): Promise<ObjectView> {
    const input = {
      [this.kind.name]: name,
      ...this.#whose(tenant),
      validateOnly: isDryRun,
      requestId,
    };
    return this.#one(await this.#call("delete", input));
  }

  #whose(tenant: string | undefined): Readonly<{ tenant?: string }> {
    return this.kind.isTenants && tenant !== undefined ? { tenant } : {};
  }

  #call(verb: StandardVerb | "create", input: object): Promise<Readonly<Record<string, unknown>>> {
    const { title, plural } = this.kind;
    const object = verb === "list" ? plural[0]?.toUpperCase() + plural.slice(1) : title;
    const client = this.#hub.client(this.#module.service) as unknown as Record<string, LooseCall>;
    const call = client[verb + object];
    if (call === undefined) throw new Fault("INTERNAL", "NO_METHOD", `${verb}${object} is missing`);
    return this.#hub.call(() => call(input));
  }

  #one(answer: Readonly<Record<string, unknown>>): ObjectView {
    const found = answer[this.kind.name] as Message | undefined;
    const message = found ?? create(this.#module.schema, {} as MessageInitShape<DescMessage>);
    return this.#view(message);
  }

  #view(message: Message): ObjectView {
    return toJson(this.#module.schema, message) as JsonObject;
  }
}
