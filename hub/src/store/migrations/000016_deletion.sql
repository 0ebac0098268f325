-- What outlives an instance, as agents tell of it, and until when an instance that is gone can come back.

alter table instance
  -- As its plan version says; 0: the hub's setting.
  add column undelete_days integer not null default 0 check (undelete_days between 0 and 3650),
  -- Set when it goes.
  add column undelete_until timestamptz;
create index instance_gone on instance (vendor_id, name, gone_at desc) where gone_at is not null;

-- A serialised envelope with a destroy order, of actions that are one: kept and handed on, never judged here.
alter table action add column destroy_order bytea check (octet_length(destroy_order) <= 16384);

create table kept_data (
  vendor_id uuid not null default wall.vendor(),
  -- The instance's.
  tenant_id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  name text not null,
  resource text not null,
  bytes bigint not null check (bytes >= 0),
  since timestamptz not null,
  reported_at timestamptz not null,
  primary key (vendor_id, tenant_id, instance_id, name),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id)
);
create index kept_data_page on kept_data (vendor_id, instance_id, name);
select wall.guard('kept_data', 'cell_id');
grant select, insert, update, delete on kept_data to holdfast_app;
