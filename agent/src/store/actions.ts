/**
 * One-off orders of the hub and how each ended. An order is written before anything is done about it and its id is
 * remembered after it has ended, so that one that comes again is answered and never done again.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Action,
  type ActionResult,
  ActionResultSchema,
  ActionSchema,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Store } from "./database.ts";

/** Ended ones that are remembered, newest first. */
export const ENDED_ACTIONS_MAX = 10_000;
/** Of all instances; the hub is told that more are not taken. */
export const OPEN_ACTIONS_MAX = 256;

export const ACTION_SCHEMA = [
  `create table action_order (
    id text primary key,
    instance_id text not null,
    -- A serialised holdfast.model.v1.Action; empty for one that an older agent did.
    body blob not null,
    -- A serialised holdfast.model.v1.ActionResult; null: open.
    result blob,
    -- When it came; of an ended one when it ended.
    at integer not null
  ) strict`,
  "create index action_open on action_order (instance_id, at) where result is null",
  "create index action_ended on action_order (at) where result is not null",
  `insert into action_order (id, instance_id, body, result, at)
     select id, '', x'', result, at from action_done`,
  "drop table action_done",
  // The newest restart of each instance: the record of an attempt that replaces copies and no generation.
  `create table restart (
    instance_id text primary key,
    action_id text not null,
    body text not null
  ) strict`,
].join(";\n");

/** False if this id is known already, whatever became of it. */
export function add(store: Store, action: Action, at: number): boolean {
  const added = store.run(
    "insert into action_order (id, instance_id, body, at) values (?, ?, ?, ?) on conflict do nothing",
    action.id,
    action.instanceId,
    toBinary(ActionSchema, action),
    at,
  );
  return added > 0;
}

export function findResult(store: Store, id: string): ActionResult | undefined {
  const row = store.get<{ result: Uint8Array | null }>(
    "select result from action_order where id = ?",
    id,
  );
  return row?.result ? fromBinary(ActionResultSchema, row.result) : undefined;
}

/** The open one that came first. */
export function oldestOpen(store: Store, instanceId: string): Action | undefined {
  return store.kept(instanceId, "action_order oldest", () => {
    const row = store.get<{ body: Uint8Array }>(
      `select body from action_order where instance_id = ? and result is null
        order by at, rowid limit 1`,
      instanceId,
    );
    return row && fromBinary(ActionSchema, row.body);
  });
}

export function countOpen(store: Store): number {
  const row = store.get<{ n: bigint }>(
    "select count(*) as n from action_order where result is null",
  );
  return Number(row?.n ?? 0n);
}

/** The first result of an id stays. */
export function end(store: Store, { id, instanceId }: Action, result: ActionResult, at: number) {
  store.transaction(() => {
    store.run(
      `insert into action_order (id, instance_id, body, result, at) values (?, ?, x'', ?, ?)
       on conflict (id) do update set result = excluded.result, at = excluded.at
         where action_order.result is null`,
      id,
      instanceId,
      toBinary(ActionResultSchema, result),
      at,
    );
    store.run(
      `delete from action_order where id in (select id from action_order
         where result is not null order by at desc limit -1 offset ?)`,
      ENDED_ACTIONS_MAX,
    );
  });
}
