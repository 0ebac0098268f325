-- Usage: streams of agents, series, the ledger, and what was set aside. The function that takes a batch
-- follows in a migration of its own.

create table usage_stream (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  agent_id uuid not null,
  epoch bigint not null check (epoch > 0),
  incarnation bigint not null,
  accepted_seq bigint not null default 0,
  accepted_head bytea not null check (octet_length(accepted_head) = 32),
  durable_seq bigint not null default 0 check (durable_seq <= accepted_seq),
  opened_at timestamptz not null default now(),
  accepted_at timestamptz,
  primary key (vendor_id, tenant_id, agent_id),
  unique (vendor_id, agent_id),
  foreign key (vendor_id, tenant_id, agent_id) references agent (vendor_id, tenant_id, id)
);
select wall.guard('usage_stream', 'cell_id');
grant select, insert, update on usage_stream to holdfast_app;

-- One source of one meter. Never re-keyed: the digest covers instance, resource, source, meter, dimensions, seat.
create table usage_series (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  digest bytea not null check (octet_length(digest) = 32),
  instance_id uuid not null,
  seat_id uuid not null,
  meter text not null,
  resource text not null,
  source text not null,
  dimensions jsonb not null default '{}',
  last_window_end_ms bigint not null,
  -- Of a counter: its newest reading. Otherwise 0.
  last_value bigint not null default 0,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, digest),
  unique (vendor_id, digest)
);
create index usage_series_cell on usage_series (vendor_id, cell_id, digest);
select wall.guard('usage_series', 'cell_id');
grant select, insert, update on usage_series to holdfast_app;

-- The ledger that bills are computed from. Immutable; partitions are months of the window's end.
create table usage_record (
  vendor_id uuid not null,
  tenant_id uuid not null,
  cell_id uuid not null,
  agent_id uuid not null,
  epoch bigint not null,
  seq bigint not null,
  series_digest bytea not null,
  instance_id uuid not null,
  seat_id uuid not null,
  meter text not null,
  -- 1 counter, 2 window value, 3 occurrence, 4 gap.
  kind smallint not null check (kind between 1 and 4),
  window_start_ms bigint not null,
  window_end_ms bigint not null,
  -- A counter's reading, a window's or an occurrence's value; 0 for a gap.
  value bigint not null check (value >= 0),
  -- What it adds to the sum of its series; for a counter the difference to the reading before.
  quantity bigint not null check (quantity >= 0),
  -- Fold of a window value, id of an occurrence, reason of a gap.
  detail text not null default '',
  received_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, window_end_ms, series_digest, kind, detail)
) partition by range (window_end_ms);
create index usage_record_meter on usage_record (vendor_id, tenant_id, meter, window_end_ms);
create index usage_record_seq on usage_record (vendor_id, agent_id, epoch, seq);
select wall.guard('usage_record', 'cell_id');
grant select, insert on usage_record to holdfast_app;

-- Records that are not believed: kept as they came, shown, never billed by themselves.
create table usage_quarantine (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  agent_id uuid not null,
  epoch bigint not null,
  seq bigint not null,
  reason text not null,
  record jsonb not null,
  received_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, agent_id, epoch, seq)
);
select wall.guard('usage_quarantine', 'cell_id');
grant select, insert on usage_quarantine to holdfast_app;

-- Makes the month's partition of the ledger. The app role may not create tables, but may call this.
create function wall.ensure_usage_month(month date) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  first date := date_trunc('month', month::timestamp)::date;
  part text := 'usage_record_' || to_char(first, 'YYYYMM');
begin
  if to_regclass('public.' || part) is not null then return false; end if;
  if first not between date '2020-01-01' and date '2200-01-01' then
    raise exception 'USAGE_MONTH_RANGE' using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock(hashtext('holdfast.usage_month'));
  if to_regclass('public.' || part) is not null then return false; end if;
  execute format('create table public.%I partition of public.usage_record for values from (%s) to (%s)',
    part, extract(epoch from first)::bigint * 1000,
    extract(epoch from first + interval '1 month')::bigint * 1000);
  execute format('alter table public.%I enable row level security', part);
  execute format('alter table public.%I force row level security', part);
  return true;
end
$$;
revoke all on function wall.ensure_usage_month(date) from public;
grant execute on function wall.ensure_usage_month(date) to holdfast_app;
select wall.ensure_usage_month((now() + make_interval(months => m))::date) from generate_series(-2, 3) m;
