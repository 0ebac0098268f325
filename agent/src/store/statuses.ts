/** The status of each instance as last worked out, with a version that grows whenever the status changes. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ActionResult,
  ActionResultSchema,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

export type VersionedStatus = Readonly<{ version: number; status: InstanceStatus }>;

/** Results of actions are kept this many, newest first: a repeated id is answered, not done again. */
const ACTIONS_MAX = 10_000;

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

export function findActionResult(store: Store, id: string): ActionResult | undefined {
  const row = store.get<{ result: Uint8Array }>("select result from action_done where id = ?", id);
  return row === undefined ? undefined : fromBinary(ActionResultSchema, row.result);
}

export function putActionResult(store: Store, result: ActionResult, at: number): void {
  store.transaction(() => {
    store.run(
      `insert into action_done (id, result, at) values (?, ?, ?)
       on conflict (id) do update set result = excluded.result`,
      result.id,
      toBinary(ActionResultSchema, result),
      at,
    );
    store.run(
      `delete from action_done where id in
        (select id from action_done order by at desc limit -1 offset ?)`,
      ACTIONS_MAX,
    );
  });
}
