-- The wall: who a transaction acts for, and how the database checks it.
--
-- A transaction carries its context (json) and a MAC over it in two transaction-local settings. The hub
-- process makes both. wall.field() checks them and is the only reader of the key; the app role can neither
-- read the key nor make a MAC, so SQL that somebody injects keeps the tenant it came with.
-- A context names the backend and the start of the transaction that it was made for, so one that was
-- overheard is useless in any other transaction; a one-statement context names the digest of the body that
-- the statement carries instead. Both expire.

-- The migrator made the schema and its own table.
grant usage on schema wall to holdfast_app, holdfast_key, holdfast_view;

-- Key pads as RFC 2104 wants them: the built-in sha256() then suffices and no extension is needed.
create table wall.context_key (
  id uuid primary key,
  inner_pad bytea not null check (octet_length(inner_pad) = 64),
  outer_pad bytea not null check (octet_length(outer_pad) = 64),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null check (expires_at <= created_at + interval '25 hours')
);
alter table wall.context_key enable row level security;
alter table wall.context_key force row level security;
create policy owner_reads on wall.context_key to holdfast_owner using (true) with check (true);
create policy key_writes on wall.context_key for insert to holdfast_key with check (true);
grant insert on wall.context_key to holdfast_key;

create function wall.forget_context_keys() returns void
  language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ delete from wall.context_key where expires_at < now() $$;

-- One field of the checked context; null where there is none, so that policies find no row.
create function wall.field(name text) returns text
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  said text := nullif(current_setting('holdfast.context', true), '');
  context jsonb;
  pads wall.context_key;
begin
  if said is null then return null; end if;
  context := said::jsonb;
  select * into pads from wall.context_key
   where id = (context->>'key')::uuid and expires_at > now();
  if not found or encode(
       sha256(pads.outer_pad || sha256(pads.inner_pad || convert_to(said, 'UTF8'))), 'hex'
     ) is distinct from current_setting('holdfast.mac', true) then
    raise exception 'CONTEXT_FORGED' using errcode = 'insufficient_privilege';
  end if;
  if (context->>'expires')::bigint <= (extract(epoch from statement_timestamp()) * 1000)::bigint then
    raise exception 'CONTEXT_EXPIRED' using errcode = 'insufficient_privilege';
  end if;
  if coalesce(context->>'transaction' = wall.transaction(), false)
     or coalesce(context->>'body' = current_setting('holdfast.body', true), false) then
    return context->>name;
  end if;
  raise exception 'CONTEXT_REPLAYED' using errcode = 'insufficient_privilege';
end
$$;

-- What a context must name to hold in this transaction: backend, and start in microseconds.
create function wall.transaction() returns text
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select pg_backend_pid() || '.' || (extract(epoch from transaction_timestamp()) * 1000000)::bigint
$$;

create function wall.vendor() returns uuid language sql stable
as $$ select wall.field('vendor')::uuid $$;
-- Differs from wall.vendor() only in the hub's own context, which may list vendors.
create function wall.vendor_hi() returns uuid language sql stable
as $$ select wall.field('vendor_hi')::uuid $$;
create function wall.tenant_lo() returns uuid language sql stable
as $$ select wall.field('tenant_lo')::uuid $$;
create function wall.tenant_hi() returns uuid language sql stable
as $$ select wall.field('tenant_hi')::uuid $$;
create function wall.cell_lo() returns uuid language sql stable
as $$ select wall.field('cell_lo')::uuid $$;
create function wall.cell_hi() returns uuid language sql stable
as $$ select wall.field('cell_hi')::uuid $$;

-- Gives a table its wall: the one policy shape. `cell_column` is set on tables that the link touches.
create function wall.guard(guarded regclass, cell_column name default null) returns void
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  rule text := 'vendor_id = (select wall.vendor())'
    || ' and tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())';
begin
  if cell_column is not null then
    rule := rule || format(
      ' and %I between (select wall.cell_lo()) and (select wall.cell_hi())', cell_column);
  end if;
  execute format('alter table %s enable row level security', guarded);
  execute format('alter table %s force row level security', guarded);
  execute format('create policy wall on %s to holdfast_app using (%s) with check (%s)',
                 guarded, rule, rule);
end
$$;

-- Lets the owner of the named views read a table: within the vendor, vendor-level rows included.
create function wall.show(shown regclass) returns void
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('create policy views on %s for select to holdfast_view using (%s)', shown,
    'vendor_id = (select wall.vendor())');
  execute format('grant select on %s to holdfast_view', shown);
end
$$;

-- The hub's own life. One row.
create table wall.hub_state (
  one boolean primary key default true check (one),
  incarnation bigint not null check (incarnation > 0),
  system_identifier text not null,
  timeline bigint not null,
  started_at timestamptz not null default now()
);
alter table wall.hub_state enable row level security;
alter table wall.hub_state force row level security;
create policy owner_reads on wall.hub_state to holdfast_owner using (true) with check (true);

create function wall.incarnation() returns bigint
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select incarnation from wall.hub_state $$;

-- The present incarnation; a new one when the database is another cluster or on another timeline than
-- at the last start, since what was said since then may be missing here.
create function wall.enter_incarnation() returns bigint
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  here text := (select system_identifier::text from pg_control_system());
  line bigint := (select timeline_id from pg_control_checkpoint());
  answer bigint;
begin
  insert into wall.hub_state as state (incarnation, system_identifier, timeline)
  values (1, here, line)
  on conflict (one) do update
    set incarnation = case when state.system_identifier = here and state.timeline = line
                           then state.incarnation else state.incarnation + 1 end,
        system_identifier = here, timeline = line, started_at = now()
  returning incarnation into answer;
  return answer;
end
$$;

create function wall.schema_version() returns integer
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select coalesce(max(number), 0) from wall.migration $$;

revoke all on all functions in schema wall from public;
grant execute on function wall.field(text), wall.transaction(), wall.vendor(), wall.vendor_hi(),
  wall.tenant_lo(), wall.tenant_hi(), wall.cell_lo(), wall.cell_hi()
  to holdfast_app, holdfast_view, holdfast_owner;
grant execute on function wall.schema_version(), wall.incarnation(), wall.enter_incarnation() to holdfast_app;
grant execute on function wall.forget_context_keys() to holdfast_key;
