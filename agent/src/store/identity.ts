/** Who the agent is: one row, written by enrolment and replaced by renewal. Holds the two private keys. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Certificate,
  CertificateSchema,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Identity } from "../link/port.ts";
import type { Store } from "./database.ts";

type Row = Readonly<{
  vendor_id: string;
  cell_id: string;
  agent_id: string;
  fencing: bigint;
  tls_key: Uint8Array;
  identity_seed: Uint8Array;
  certificate: Uint8Array;
  link_endpoints: string;
  identity_endpoints: string;
}>;

export function find(store: Store): Identity | undefined {
  const row = store.get<Row>("select * from identity where id = 1");
  if (row === undefined) return undefined;
  return {
    vendorId: row.vendor_id,
    cellId: row.cell_id,
    agentId: row.agent_id,
    fencing: row.fencing,
    tlsKey: row.tls_key,
    identitySeed: row.identity_seed,
    certificate: fromBinary(CertificateSchema, row.certificate),
    linkEndpoints: JSON.parse(row.link_endpoints) as string[],
    identityEndpoints: JSON.parse(row.identity_endpoints) as string[],
  };
}

/** Throws FAILED_PRECONDITION `NOT_ENROLLED`. */
export function load(store: Store): Identity {
  const found = find(store);
  if (found !== undefined) return found;
  throw notEnrolled("DIR");
}

export function notEnrolled(stateDir: string): Fault {
  const message = "this state directory has no identity";
  return new Fault("FAILED_PRECONDITION", "NOT_ENROLLED", message, {
    next: `holdfast-agent enroll --state ${stateDir} --token-file FILE`,
  });
}

/** Only into a store without an identity: another one needs a directory of its own. */
export function insert(store: Store, identity: Identity): void {
  const inserted = store.run(
    `insert into identity (id, vendor_id, cell_id, agent_id, fencing, tls_key, identity_seed,
       certificate, link_endpoints, identity_endpoints)
     values (1, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
    identity.vendorId,
    identity.cellId,
    identity.agentId,
    identity.fencing,
    identity.tlsKey,
    identity.identitySeed,
    toBinary(CertificateSchema, identity.certificate),
    JSON.stringify(identity.linkEndpoints),
    JSON.stringify(identity.identityEndpoints),
  );
  if (inserted === 1) return;
  const held = find(store)?.agentId ?? "";
  throw new Fault(
    "ALREADY_EXISTS",
    "ALREADY_ENROLLED",
    `this state directory is already that of agent ${held}`,
    { next: "holdfast-agent status" },
  );
}

/** The agent that this directory belongs to gives way to the next one of its cell. */
export function remove(store: Store): void {
  store.run("delete from identity");
}

/** Durable when it returns. */
export function replaceCertificate(
  store: Store,
  tlsKey: Uint8Array,
  certificate: Certificate,
): void {
  store.run(
    "update identity set tls_key = ?, certificate = ? where id = 1",
    tlsKey,
    toBinary(CertificateSchema, certificate),
  );
}
