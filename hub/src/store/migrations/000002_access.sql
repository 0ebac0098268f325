-- Who is who, what they may do, and what the hub keeps for itself.
-- Common columns of objects: revision is the etag and grows with each write, generation with each change of
-- the spec; deleted_at is set when removal was asked for, gone_at when it is done. Rows that are gone keep
-- the names that old bills and events show. The nil tenant id stands for the vendor itself.

create table vendor (
  vendor_id uuid not null,
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  id uuid not null,
  name text not null,
  display_name text not null default '',
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  check (id = vendor_id),
  check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
alter table vendor enable row level security;
alter table vendor force row level security;
create policy wall on vendor to holdfast_app
  using (vendor_id between (select wall.vendor()) and (select wall.vendor_hi()))
  with check (vendor_id between (select wall.vendor()) and (select wall.vendor_hi()));
grant select, insert, update on vendor to holdfast_app;

create table tenant (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  name text not null,
  display_name text not null default '',
  annotations jsonb not null default '{}',
  generation bigint not null default 1,
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  gone_at timestamptz,
  finalizers text[] not null default '{}',
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  check (id = tenant_id)
);
-- A tenant's owner is the vendor, so its name is unique in the vendor.
create unique index tenant_name on tenant (vendor_id, name) where gone_at is null;
select wall.guard('tenant');
grant select, insert, update on tenant to holdfast_app;

create table member (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  name text not null,
  display_name text not null default '',
  service_account boolean not null default false,
  annotations jsonb not null default '{}',
  generation bigint not null default 1,
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  gone_at timestamptz,
  finalizers text[] not null default '{}',
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id)
);
create unique index member_name on member (vendor_id, tenant_id, name) where gone_at is null;
create index member_page on member (vendor_id, name, id) where gone_at is null;
select wall.guard('member');
grant select, insert, update on member to holdfast_app;

create table access_grant (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  member_id uuid not null,
  role text not null check (role ~ '^[a-z][a-z-]{0,39}$'),
  -- A closed tree; null: no condition.
  condition jsonb,
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  foreign key (vendor_id, tenant_id, member_id) references member (vendor_id, tenant_id, id)
);
create index access_grant_member on access_grant (vendor_id, tenant_id, member_id);
select wall.guard('access_grant');
grant select, insert, delete on access_grant to holdfast_app;

create table api_token (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  member_id uuid not null,
  -- SHA-256 of the token's secret.
  secret_hash bytea not null check (octet_length(secret_hash) = 32),
  description text not null default '',
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  unique (vendor_id, tenant_id, secret_hash),
  foreign key (vendor_id, tenant_id, member_id) references member (vendor_id, tenant_id, id)
);
-- Tokens name the vendor, not the tenant.
create index api_token_secret on api_token (vendor_id, secret_hash);
create index api_token_member on api_token (vendor_id, tenant_id, member_id);
select wall.guard('api_token');
grant select, insert, delete on api_token to holdfast_app;
grant update (revoked_at) on api_token to holdfast_app;

-- Signed envelopes as they came; the newest version of each purpose is what agents pin.
create table key_set (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  purpose smallint not null check (purpose between 1 and 3),
  version bigint not null check (version > 0),
  envelope bytea not null,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, purpose, version)
);
select wall.guard('key_set');
grant select, insert on key_set to holdfast_app;

-- Secrets of the hub, wrapped. Those of the hub itself carry the nil vendor id.
create table hub_secret (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  name text not null,
  version bigint not null check (version > 0),
  wrapped bytea not null,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  primary key (vendor_id, tenant_id, name, version)
);
select wall.guard('hub_secret');
grant select, insert, delete on hub_secret to holdfast_app;
grant update (wrapped, retired_at) on hub_secret to holdfast_app;

-- Who runs a loop. The fence grows with each new holder; a guarded write compares it.
create table lease (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  name text not null,
  holder text not null,
  fence bigint not null,
  expires_at timestamptz not null,
  primary key (vendor_id, tenant_id, name)
);
select wall.guard('lease');
grant select, insert, update on lease to holdfast_app;

-- Answers by request id, so that a repeated request is answered and not done again.
create table idempotency (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  caller text not null,
  request_id uuid not null,
  method text not null,
  request_hash bytea not null check (octet_length(request_hash) = 32),
  answer bytea not null,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, caller, request_id)
);
create index idempotency_age on idempotency (vendor_id, created_at);
select wall.guard('idempotency');
grant select, insert, delete on idempotency to holdfast_app;

-- Labels of all kinds of objects, as rows: under row-level security an index needs leakproof operators.
create table object_label (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  kind text not null,
  object_id uuid not null,
  key text not null,
  value text not null,
  primary key (vendor_id, tenant_id, kind, object_id, key)
);
create index object_label_value on object_label (vendor_id, kind, key, value, object_id);
create index object_label_object on object_label (vendor_id, object_id);
select wall.guard('object_label');
grant select, insert, update, delete on object_label to holdfast_app;
