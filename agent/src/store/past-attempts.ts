/** The attempts before the newest one, for people who ask what happened. Nothing is decided by them. */
import { recordOf, recordText } from "./attempt-json.ts";
import type { AttemptRecord } from "./attempt-types.ts";
import * as attempts from "./attempts.ts";
import type { Store } from "./database.ts";

/** With the newest one, of each instance. */
export const ATTEMPTS_KEPT_MAX = 5;

/** Newest first. */
export function list(store: Store, instanceId: string): readonly AttemptRecord[] {
  return store.kept(instanceId, "past_attempt", () =>
    store
      .all<{ body: string }>(
        "select body from past_attempt where instance_id = ? order by id desc limit ?",
        instanceId,
        ATTEMPTS_KEPT_MAX - 1,
      )
      .map(({ body }) => recordOf(body)),
  );
}

/** Before another takes its place. One that was held never began, and what came of it is told by the next. */
export function keepLast(store: Store, next: AttemptRecord): void {
  if (next.restart !== undefined) return;
  const last = attempts.find(store, next.instanceId);
  if (last === undefined || last.id === next.id || last.state === "HELD") return;
  store.run(
    "insert or replace into past_attempt (instance_id, id, body) values (?, ?, ?)",
    last.instanceId,
    last.id,
    recordText(last),
  );
  store.run(
    `delete from past_attempt where instance_id = ? and id not in
       (select id from past_attempt where instance_id = ? order by id desc limit ?)`,
    last.instanceId,
    last.instanceId,
    ATTEMPTS_KEPT_MAX - 1,
  );
}

export function forget(store: Store, instanceId: string): void {
  store.run("delete from past_attempt where instance_id = ?", instanceId);
}
