/**
 * The four database roles. Only the migrator, run by somebody who may create roles, makes them; where an
 * operator made them beforehand nothing is changed.
 */
import type pg from "pg";

/** Owns everything; nobody logs in as it. */
export const OWNER_ROLE = "holdfast_owner";
/** Serves. Owns nothing, sees what its context allows. */
export const APP_ROLE = "holdfast_app";
/** Writes context keys and does nothing else. */
export const KEY_ROLE = "holdfast_key";
/** Owns the named views through which tenants read facts of the vendor. */
export const VIEW_ROLE = "holdfast_view";

const ROLES = [
  [OWNER_ROLE, "nologin"],
  [APP_ROLE, "login"],
  [KEY_ROLE, "login"],
  [VIEW_ROLE, "nologin"],
] as const;

/** Roles are the cluster's, not the database's: another database's migrator may be making them just now. */
export async function prepareRoles(client: pg.Client, lock: number): Promise<void> {
  await client.query("begin");
  try {
    await client.query(`select pg_advisory_xact_lock(${lock})`);
    for (const [name, login] of ROLES) {
      await client.query(`
        do $$
        begin
          if not exists (select from pg_roles where rolname = '${name}') then
            create role ${name} ${login} nosuperuser nobypassrls nocreatedb nocreaterole;
          end if;
        exception when duplicate_object or unique_violation then null;
        end
        $$`);
    }
    const { rows } = await client.query<{ ready: boolean }>(`
      select pg_has_role('${OWNER_ROLE}', '${VIEW_ROLE}', 'MEMBER')
         and has_database_privilege('${OWNER_ROLE}', current_database(), 'CREATE')
         and has_schema_privilege('${OWNER_ROLE}', 'public', 'CREATE WITH GRANT OPTION') as ready`);
    if (rows[0]?.ready !== true) await client.query(GRANTS);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

// Limits for statements outside of transactions, which set their own. Nobody gets temporary tables: one
// could shadow a table's name for the rest of a session.
const GRANTS = `
  grant ${VIEW_ROLE} to ${OWNER_ROLE};
  do $$ begin
    execute format('grant create, connect on database %I to ${OWNER_ROLE}', current_database());
    execute format('grant connect on database %I to ${APP_ROLE}, ${KEY_ROLE}', current_database());
    execute format('revoke temporary on database %I from public', current_database());
  end $$;
  do $$ begin
    execute format('alter role ${APP_ROLE} in database %I set statement_timeout = 10000', current_database());
    execute format('alter role ${APP_ROLE} in database %I set lock_timeout = 5000', current_database());
    execute format('alter role ${APP_ROLE} in database %I set idle_in_transaction_session_timeout = 15000',
                   current_database());
  end $$;
  revoke create on schema public from public;
  grant usage, create on schema public to ${OWNER_ROLE} with grant option;
  grant usage on schema public to ${APP_ROLE}, ${VIEW_ROLE};`;
