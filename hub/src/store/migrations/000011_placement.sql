-- What fits into a cell and what is in it. The count is kept by the database in the transaction that changes it,
-- whoever makes the change, so that two creations at once never overfill a cell and a decision reads one row for
-- each cell instead of all instances.

alter table cell
  -- 0: no bound.
  add column instances_max integer not null default 0 check (instances_max >= 0),
  -- Name to the most that there may be of it; what is not named has no bound.
  add column resources_max jsonb not null default '{}' check (jsonb_typeof(resources_max) = 'object');

alter table instance
  -- What it takes of the cell's named resources, as its plan version says.
  add column asks jsonb not null default '{}' check (jsonb_typeof(asks) = 'object'),
  -- {region, labels}: which cells would have done; empty where none was asked for.
  add column placement jsonb not null default '{}',
  -- {reason, message}: why it is in its cell.
  add column placed jsonb not null default '{}',
  -- Taken seats, the reserved one left out.
  add column seats integer not null default 0;

alter table subscription
  add column placement jsonb not null default '{}',
  add column placed jsonb not null default '{}';

create index instance_plan on instance (vendor_id, tenant_id, plan_id) where gone_at is null;
create index instance_subscription on instance (vendor_id, tenant_id, subscription_id) where gone_at is null;
create index agent_cell on agent (vendor_id, cell_id, fencing desc) where gone_at is null;

-- A cell without a row has nothing in it.
create table cell_load (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  instances integer not null default 0 check (instances >= 0),
  resources jsonb not null default '{}',
  primary key (vendor_id, tenant_id, cell_id),
  foreign key (vendor_id, tenant_id, cell_id) references cell (vendor_id, tenant_id, id)
);
select wall.guard('cell_load', 'cell_id');
-- Only the function below writes it.
grant select on cell_load to holdfast_app;
create policy owner_only on cell_load to holdfast_owner using (true) with check (true);
create policy owner_reads on cell for select to holdfast_owner using (true);

-- Runs at the commit, so that creations in one cell wait for each other for no longer than that takes. Runs as the
-- owner, since a tenant's instance counts in the vendor's cell; touches only the row of the instance's own cell,
-- which the instance's foreign key has checked. An instance that is being deleted counts until it is gone.
create function wall.count_load() returns trigger
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  was boolean := tg_op = 'UPDATE' and old.gone_at is null;
  present boolean := new.gone_at is null;
  before jsonb := case when was then old.asks else '{}' end;
  after jsonb := case when present then new.asks else '{}' end;
  more integer := present::int - was::int;
  load public.cell_load;
  bound record;
  resource text;
  delta bigint;
  total bigint;
begin
  insert into public.cell_load (vendor_id, tenant_id, cell_id)
  values (new.vendor_id, new.cell_tenant_id, new.cell_id) on conflict do nothing;
  select * into strict load from public.cell_load l
   where l.vendor_id = new.vendor_id and l.tenant_id = new.cell_tenant_id and l.cell_id = new.cell_id
     for update;
  select c.instances_max, c.resources_max into strict bound from public.cell c
   where c.vendor_id = new.vendor_id and c.tenant_id = new.cell_tenant_id and c.id = new.cell_id;
  load.instances := load.instances + more;
  if more > 0 and bound.instances_max > 0 and load.instances > bound.instances_max then
    raise exception 'CELL_FULL' using errcode = 'HF001';
  end if;
  for resource in select jsonb_object_keys(before || after) loop
    delta := coalesce((after->>resource)::bigint, 0) - coalesce((before->>resource)::bigint, 0);
    total := coalesce((load.resources->>resource)::bigint, 0) + delta;
    if delta > 0 and total > (bound.resources_max->>resource)::bigint then
      raise exception 'CELL_FULL' using errcode = 'HF001';
    end if;
    load.resources := load.resources || jsonb_build_object(resource, total);
  end loop;
  update public.cell_load l set instances = load.instances, resources = load.resources
   where l.vendor_id = load.vendor_id and l.tenant_id = load.tenant_id and l.cell_id = load.cell_id;
  return null;
end
$$;

create constraint trigger instance_arrives after insert on instance
  deferrable initially deferred for each row execute function wall.count_load();
create constraint trigger instance_changes after update of asks, gone_at on instance
  deferrable initially deferred for each row
  when (old.asks is distinct from new.asks or old.gone_at is distinct from new.gone_at)
  execute function wall.count_load();

-- An instance never moves by itself, and by nobody else either: its data would stay behind.
create function wall.refuse_move() returns trigger
  language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'an instance never changes its cell' using errcode = 'check_violation';
end
$$;
create trigger instance_stays before update of cell_id on instance
  for each row when (old.cell_id <> new.cell_id) execute function wall.refuse_move();

-- Seats are only ever made and given up by those who see the instance, so this needs no more than their rights.
create function wall.count_seats() returns trigger
  language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  was boolean := tg_op = 'UPDATE' and old.gone_at is null and not old.reserved;
  present boolean := new.gone_at is null and not new.reserved;
begin
  if was <> present then
    update public.instance i set seats = i.seats + present::int - was::int where i.id = new.instance_id;
  end if;
  return null;
end
$$;
create trigger seat_counts after insert or update of gone_at on seat
  for each row execute function wall.count_seats();

revoke all on function wall.count_load(), wall.refuse_move(), wall.count_seats() from public;

-- What is there already.
create policy owner_reads on instance to holdfast_owner using (true) with check (true);
create policy owner_reads on seat for select to holdfast_owner using (true);
alter table instance disable trigger user;
insert into cell_load (vendor_id, tenant_id, cell_id, instances)
select vendor_id, cell_tenant_id, cell_id, count(*) from instance where gone_at is null
 group by vendor_id, cell_tenant_id, cell_id;
update instance i set seats = s.taken
  from (select vendor_id, instance_id, count(*)::int as taken from seat
         where gone_at is null and not reserved group by vendor_id, instance_id) s
 where s.vendor_id = i.vendor_id and s.instance_id = i.id;
alter table instance enable trigger user;
drop policy owner_reads on instance;
drop policy owner_reads on seat;
