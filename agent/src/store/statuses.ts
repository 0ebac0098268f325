/** The status of each instance as last worked out, with a version that grows whenever the status changes. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

export type VersionedStatus = Readonly<{ version: number; status: InstanceStatus }>;

export function list(store: Store): readonly VersionedStatus[] {
  return store
    .all<{ version: bigint; body: Uint8Array }>(
      "select version, body from status order by instance_id limit ?",
      LIST_ROWS_MAX,
    )
    .map(({ version, body }) => ({
      version: Number(version),
      status: fromBinary(InstanceStatusSchema, body),
    }));
}

export function replace(store: Store, { version, status }: VersionedStatus): void {
  store.run(
    `insert into status (instance_id, version, body) values (?, ?, ?)
     on conflict (instance_id) do update set version = excluded.version, body = excluded.body`,
    status.instanceId,
    version,
    toBinary(InstanceStatusSchema, status),
  );
}
