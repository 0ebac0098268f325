/**
 * What is remembered of instances that were removed: that, how, and at which generation, so that nothing older brings them
 * back and whoever asks is told. Not for ever, since an agent holds a bounded number of instances, these included.
 */
import { LIST_ROWS_MAX, type Store } from "./database.ts";
import { KEEP_DAYS } from "./outbox.ts";

/** As long as a hub that was restored from a backup may ask for usage, and with it for what it knew. */
export const REMOVED_KEPT_MS = KEEP_DAYS * 86_400_000;

/** Those with an open order are left out: it is answered first. Ended orders and destroy grants have bounds of their own. */
const HELD = [
  ...["assignment", "entitlement", "refusal", "attempt", "journal", "rendering", "committed"],
  ...["past_attempt", "restart", "status", "secret", "drift_adoption", "removal_approval"],
] as const;

/** Gone before this moment (wall clock, ms), the longest gone first. */
export function list(store: Store, before: number): readonly string[] {
  return store
    .all<{ id: string }>(
      `select instance_id as id from assignment left join attempt using (instance_id)
        where removed = 1 and coalesce(ended_at, accepted_at) < ?
          and not exists (select 1 from action_order o
                where o.instance_id = assignment.instance_id and o.result is null)
        order by coalesce(ended_at, accepted_at) limit ?`,
      before,
      LIST_ROWS_MAX,
    )
    .map(({ id }) => id);
}

/** Nothing of it is known any more but what orders came to, and usage that the hub may still ask for. */
export function forget(store: Store, instanceId: string): void {
  store.transaction(() => {
    for (const table of HELD) store.run(`delete from ${table} where instance_id = ?`, instanceId);
  });
}

/** Refusals of instances that were never held: who offered them so long ago has no use for an answer any more. */
export function forgetRefusals(store: Store, before: number): number {
  return store.run(
    "delete from refusal where at < ? and instance_id not in (select instance_id from assignment)",
    before,
  );
}

/**
 * Series of instances that are not held, once no record of them is left to be sent, or sent again. Each start of a process
 * is one more. The serialised series begins with the instance's id: tag, length and 36 characters.
 */
export function forgetSeries(store: Store, before: number): number {
  // The hub does not even have what is older than all that is asked for here.
  if (store.get("select 1 from usage_record where window_end_ms < ? limit 1", before)) return 0;
  // For each row that goes the key's own check would read all records. What goes has ended before the oldest of them.
  store.db.pragma("foreign_keys = OFF");
  try {
    return store.run(
      `delete from usage_series where last_end_ms < ? and substr(series, 1, 2) = x'0a24'
         and cast(substr(series, 3, 36) as text) not in (select instance_id from assignment)`,
      before,
    );
  } finally {
    store.db.pragma("foreign_keys = ON");
  }
}
