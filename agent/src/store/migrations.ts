/**
 * The schema of the agent's store, as numbered steps that run once and in order, each in a transaction.
 * A step is never edited after it was released; a store of a newer agent is refused.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { ACTION_SCHEMA } from "./actions.ts";
import type { Store } from "./database.ts";
import { DESTROY_GRANT_SCHEMA } from "./destroy-grants.ts";
import { OUTBOX_SCHEMA } from "./outbox.ts";
import { REMOVAL_APPROVAL_SCHEMA } from "./removal-approvals.ts";
import { CORE_SCHEMA } from "./schema-core.ts";
import { DRIFT_SCHEMA } from "./schema-drift.ts";
import { PAST_ATTEMPTS_SCHEMA } from "./schema-past-attempts.ts";
import { SECRETS_SCHEMA } from "./secrets.ts";

/** Position + 1 is the number. Append only; each entry is a script of statements. */
const MIGRATIONS: readonly string[] = [
  CORE_SCHEMA,
  OUTBOX_SCHEMA,
  SECRETS_SCHEMA,
  ACTION_SCHEMA,
  PAST_ATTEMPTS_SCHEMA,
  DESTROY_GRANT_SCHEMA,
  REMOVAL_APPROVAL_SCHEMA,
  DRIFT_SCHEMA,
];

export function migrate(store: Store, path: string): void {
  store.run("create table if not exists migration (number integer primary key) strict");
  const row = store.get<{ last: bigint | null }>("select max(number) as last from migration");
  const last = Number(row?.last ?? 0n);
  if (last > MIGRATIONS.length) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "STORE_NEWER",
      `${path}: schema ${last} is of a newer agent; this one knows up to ${MIGRATIONS.length}`,
      { next: "holdfast-agent version" },
    );
  }
  for (const [index, script] of MIGRATIONS.entries()) {
    if (index < last) continue;
    store.transaction(() => {
      store.run("insert into migration (number) values (?)", index + 1);
      store.db.exec(script);
    });
  }
}
