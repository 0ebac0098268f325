/** What the agent trusts: key sets by purpose, release floors, the newest freshness note. None ever goes back. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  type KeyPurpose,
  type KeySet,
  KeySetSchema,
} from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

export type Floor = Readonly<{ product: string; minReleaseNumber: bigint }>;

export function findKeySet(store: Store, purpose: KeyPurpose): KeySet | undefined {
  const row = store.get<{ payload: Uint8Array }>(
    "select payload from key_set where purpose = ?",
    purpose,
  );
  return row === undefined ? undefined : fromBinary(KeySetSchema, row.payload);
}

export function listKeySets(store: Store): readonly KeySet[] {
  return store
    .all<{ payload: Uint8Array }>("select payload from key_set order by purpose limit 10")
    .map(({ payload }) => fromBinary(KeySetSchema, payload));
}

/** The guard against an older set is in the statement. True if it was stored. */
export function replaceKeySet(store: Store, set: KeySet, payload: Uint8Array): boolean {
  const changed = store.run(
    `insert into key_set (purpose, version, payload) values (?, ?, ?)
     on conflict (purpose) do update set version = excluded.version, payload = excluded.payload
     where excluded.version > key_set.version`,
    set.purpose,
    set.version,
    payload,
  );
  return changed === 1;
}

export function findFloor(store: Store, product: string): bigint {
  const row = store.get<{ min_release_number: bigint }>(
    "select min_release_number from floor where product = ?",
    product,
  );
  return row?.min_release_number ?? 0n;
}

export function listFloors(store: Store): readonly Floor[] {
  return store
    .all<{ product: string; min_release_number: bigint }>(
      "select product, min_release_number from floor order by product limit ?",
      LIST_ROWS_MAX,
    )
    .map((row) => ({ product: row.product, minReleaseNumber: row.min_release_number }));
}

/** True if it was raised; a lower floor changes nothing. */
export function raiseFloor(store: Store, floor: Floor, envelope: Envelope): boolean {
  const changed = store.run(
    `insert into floor (product, min_release_number, envelope) values (?, ?, ?)
     on conflict (product) do update
       set min_release_number = excluded.min_release_number, envelope = excluded.envelope
     where excluded.min_release_number > floor.min_release_number`,
    floor.product,
    floor.minReleaseNumber,
    toBinary(EnvelopeSchema, envelope),
  );
  return changed === 1;
}

export function findFreshness(store: Store): Envelope | undefined {
  return store.keptShared("freshness", () => {
    const row = store.get<{ envelope: Uint8Array }>("select envelope from freshness where id = 1");
    return row === undefined ? undefined : fromBinary(EnvelopeSchema, row.envelope);
  });
}

export function replaceFreshness(store: Store, envelope: Envelope): void {
  store.run(
    `insert into freshness (id, envelope) values (1, ?)
     on conflict (id) do update set envelope = excluded.envelope`,
    toBinary(EnvelopeSchema, envelope),
  );
}
