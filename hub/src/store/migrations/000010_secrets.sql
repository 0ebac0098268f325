-- Secrets of instances, sealed to one agent each: bytes that the hub keeps and cannot read.

-- A serialised envelope with what secrets for this agent are sealed to, signed by its identity key.
alter table agent add column sealing_key bytea check (octet_length(sealing_key) <= 4096);

create table instance_secret (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  name text not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
  version bigint not null check (version > 0),
  -- The agent that it is sealed to, and who owns that agent's cell.
  agent_id uuid not null,
  agent_tenant_id uuid not null,
  -- Of the sealed bytes.
  digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
  sealed bytea not null check (octet_length(sealed) <= 66560),
  set_by text not null,
  set_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, instance_id, name, version, agent_id),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id),
  foreign key (vendor_id, agent_tenant_id, agent_id) references agent (vendor_id, tenant_id, id),
  check (agent_tenant_id in (tenant_id, '00000000-0000-0000-0000-000000000000'))
);
create index instance_secret_instance on instance_secret (vendor_id, instance_id, name, version);
select wall.guard('instance_secret', 'cell_id');
grant select, insert, delete on instance_secret to holdfast_app;

-- What own secrets may be sealed to: the agents of own cells, and of the hosted ones that own instances run in.
select wall.show('agent');
create view visible_sealing_key with (security_barrier) as
  select a.vendor_id, a.tenant_id, a.id, a.cell_id, a.name, a.fencing, a.identity_key, a.sealing_key
    from agent a
   where a.gone_at is null and a.deleted_at is null
     and (a.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from instance i
                  where i.vendor_id = a.vendor_id and i.cell_id = a.cell_id and i.gone_at is null
                    and i.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())))
     and a.cell_id between (select wall.cell_lo()) and (select wall.cell_hi());
grant create on schema public to holdfast_view;
alter view visible_sealing_key owner to holdfast_view;
revoke create on schema public from holdfast_view;
grant select on visible_sealing_key to holdfast_app;
