/**
 * The hub's own keys and those for each vendor, made once, wrapped in the database, and held in memory while
 * the hub serves. Also the list of vendors that this hub serves. Never shows a key.
 */
import { randomBytes } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { rawPublicKeyOf, signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { type AgentAuthority, agentAuthority } from "../pki/agent-certificate.ts";
import { type Authority, createAuthority } from "../pki/authority.ts";
import type { Wrapper } from "../secrets.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import * as hubSecrets from "../store/hub-secrets.ts";
import * as keySets from "../store/key-sets.ts";
import { readWithContext, type Tx, withContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";
import type { VendorKeys } from "./deps.ts";

/** Two AES-128 keys and a name, as node:tls wants them. */
const TICKET_KEY_BYTES = 48;
const TICKET_KEYS = "ticket-keys";
const SEED_BYTES = 32;
/** After this the keys are replaced, and tickets made with the old ones mean a full handshake. */
export const TICKET_KEYS_LIFE_MS = 24 * 3_600_000;
/** Replaced keys that are kept, for whoever looks into an incident. */
const TICKET_KEYS_KEPT = 2n;
/** An unknown vendor in a token makes the list be read again, at most this often. */
const REFRESH_PAUSE_MS = 1_000;

/** Keys of the hub itself, the same for all vendors. */
export type HubKeys = Readonly<{
  serverAuthority: Authority;
  pageKey: Uint8Array;
}>;

type Known = Readonly<{ name: string; keys: VendorKeys; authority: AgentAuthority }>;
export type KeyringDeps = Readonly<{ database: Database; wrapper: Wrapper; clock: Clock }>;

/** Made by `openKeyring`. */
export class Keyring {
  readonly hub: HubKeys;
  readonly #deps: KeyringDeps;
  #ticketKeys: Uint8Array;
  #vendors: ReadonlyMap<string, Known> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #onNew: () => void = () => undefined;

  constructor(deps: KeyringDeps, hub: HubKeys, ticketKeys: Uint8Array) {
    this.#deps = deps;
    this.hub = hub;
    this.#ticketKeys = ticketKeys;
  }

  /** The same in all processes of this hub, so that a session of one is resumed by any. */
  get ticketKeys(): Uint8Array {
    return this.#ticketKeys;
  }

  /** Makes new ones when their time is over, or takes those that another process made. True if they changed. */
  async renewTicketKeys(): Promise<boolean> {
    const { database, wrapper, clock } = this.#deps;
    const before = this.#ticketKeys;
    this.#ticketKeys = await withContext(database, hubContext("keyring"), async (tx) => {
      const present = await hubSecrets.newest(tx, TICKET_KEYS);
      const age = clock.now() - (present?.createdAt.getTime() ?? 0);
      if (present !== undefined && age >= TICKET_KEYS_LIFE_MS) {
        const version = present.version + 1n;
        const wrapped = wrapper.wrap(TICKET_KEYS, randomBytes(TICKET_KEY_BYTES));
        await hubSecrets.insert(tx, { name: TICKET_KEYS, version, wrapped });
        await hubSecrets.forget(tx, TICKET_KEYS, version - TICKET_KEYS_KEPT);
      }
      return ticketKeysOf(tx, wrapper);
    });
    return !Buffer.from(before).equals(this.#ticketKeys);
  }

  /** Called when vendors have come: listeners trust their agents from then on. */
  onNewVendors(call: () => void): void {
    this.#onNew = call;
  }

  /** Throws NOT_FOUND `VENDOR_UNKNOWN`. */
  keysOf(vendorId: string): VendorKeys {
    const known = this.#vendors.get(vendorId);
    if (known !== undefined) return known.keys;
    throw new Fault("NOT_FOUND", "VENDOR_UNKNOWN", "this hub does not serve the vendor");
  }

  authorities(): readonly AgentAuthority[] {
    return [...this.#vendors.values()].map(({ authority }) => authority);
  }

  /** Undefined for a vendor that this hub does not serve; one that was made just now is found. */
  async vendorName(vendorId: string): Promise<string | undefined> {
    const isStale = this.#deps.clock.monotonic() - this.#readAt >= REFRESH_PAUSE_MS;
    if (!this.#vendors.has(vendorId) && isStale) await this.refresh();
    return this.#vendors.get(vendorId)?.name;
  }

  /** Reads the list of vendors and the keys of those that are new. */
  async refresh(): Promise<void> {
    const { database, clock } = this.#deps;
    this.#readAt = clock.monotonic();
    const all = await readWithContext(database, hubContext("keyring"), vendors.list);
    const next = new Map<string, Known>();
    for (const { id, name } of all) {
      const known = this.#vendors.get(id);
      next.set(id, known ?? { name, ...(await this.#load(id)) });
    }
    const isNew = next.size > this.#vendors.size;
    this.#vendors = next;
    if (isNew) this.#onNew();
  }

  async #load(vendorId: string): Promise<Omit<Known, "name">> {
    const { database, wrapper, clock } = this.#deps;
    const keys = await withContext(database, taskContext(vendorId, "keyring"), (tx) =>
      vendorKeys(tx, wrapper, vendorId, clock.now()),
    );
    return { keys, authority: agentAuthority(vendorId, keys.agentAuthority.certificate) };
  }
}

export async function openKeyring(deps: KeyringDeps): Promise<Keyring> {
  const { database, wrapper, clock } = deps;
  const hub = await withContext(database, hubContext("keyring"), async (tx) => ({
    serverAuthority: await authority(tx, wrapper, "server-authority", () =>
      // Another name than the leaves: one that names itself as its issuer counts as self-signed.
      createAuthority("holdfast hub authority", clock.now()),
    ),
    pageKey: await secret(tx, wrapper, "page-key", () => randomBytes(SEED_BYTES)),
    ticketKeys: await ticketKeysOf(tx, wrapper),
  }));
  const keyring = new Keyring(deps, hub, hub.ticketKeys);
  await keyring.refresh();
  return keyring;
}

function ticketKeysOf(tx: Tx, wrapper: Wrapper): Promise<Uint8Array> {
  return secret(tx, wrapper, TICKET_KEYS, () => randomBytes(TICKET_KEY_BYTES));
}

/** A vendor's keys, made if they are not there yet; with them the first set of assignment keys. */
export async function vendorKeys(
  tx: Tx,
  wrapper: Wrapper,
  vendorId: string,
  now: number,
): Promise<VendorKeys> {
  const agents = await authority(tx, wrapper, "agent-authority", () =>
    createAuthority(`holdfast agents of ${vendorId}`, now),
  );
  const seed = await secret(tx, wrapper, "assignment-key", () => randomBytes(SEED_BYTES));
  const assignmentKey = signingKey(seed);
  const present = await keySets.listAfter(tx, KeyPurpose.ASSIGNMENT, 0n);
  if (present.length === 0) {
    const { keyId, privateKey } = assignmentKey;
    const purpose = KeyPurpose.ASSIGNMENT;
    const set = create(KeySetSchema, {
      vendorId: idOf("vendor", vendorId),
      version: 1n,
      purpose,
      keys: [{ keyId, purpose, publicKey: rawPublicKeyOf(privateKey) }],
    });
    const envelope = signEnvelope("keyset", toBinary(KeySetSchema, set), [assignmentKey]);
    await keySets.insert(tx, {
      purpose,
      version: 1n,
      envelope: toBinary(EnvelopeSchema, envelope),
    });
  }
  return { agentAuthority: agents, assignmentKey };
}

/** The newest of this name; the first one is made. Of two makers the slower takes the faster one's. */
async function secret(
  tx: Tx,
  wrapper: Wrapper,
  name: string,
  make: () => Uint8Array | Promise<Uint8Array>,
): Promise<Uint8Array> {
  const present = await hubSecrets.newest(tx, name);
  if (present !== undefined) return wrapper.unwrap(name, present.wrapped);
  const made = await make();
  const wrapped = wrapper.wrap(name, made);
  if (await hubSecrets.insert(tx, { name, version: 1n, wrapped })) return made;
  return secret(tx, wrapper, name, make);
}

type Serialised = Readonly<{ certificate: string; privateKey: string }>;

async function authority(
  tx: Tx,
  wrapper: Wrapper,
  name: string,
  make: () => Promise<Authority>,
): Promise<Authority> {
  const bytes = await secret(tx, wrapper, name, async () => {
    const { certificate, privateKey } = await make();
    const text = (part: Uint8Array) => Buffer.from(part).toString("base64");
    const json = { certificate: text(certificate), privateKey: text(privateKey) };
    return Buffer.from(JSON.stringify(json));
  });
  const { certificate, privateKey } = JSON.parse(Buffer.from(bytes).toString()) as Serialised;
  return {
    certificate: new Uint8Array(Buffer.from(certificate, "base64")),
    privateKey: new Uint8Array(Buffer.from(privateKey, "base64")),
  };
}
