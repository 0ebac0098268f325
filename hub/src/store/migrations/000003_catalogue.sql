-- What a vendor offers: products, signed releases, artefacts, plans, environments. All vendor-level rows.

create table product (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  id uuid not null,
  name text not null,
  display_name text not null default '',
  description text not null default '',
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
create unique index product_name on product (vendor_id, tenant_id, name) where gone_at is null;
create index product_page on product (vendor_id, name, id) where gone_at is null;
select wall.guard('product');
grant select, insert, update on product to holdfast_app;

-- The name is product and version. Only labels and annotations ever change.
create table release (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  id uuid not null,
  name text not null,
  product_id uuid not null,
  version text not null,
  number bigint not null check (number > 0),
  digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
  key_ids text[] not null,
  -- A serialised holdfast.model.v1.Envelope, as uploaded.
  envelope bytea not null,
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
  unique (vendor_id, tenant_id, product_id, version),
  unique (vendor_id, tenant_id, product_id, number),
  unique (vendor_id, tenant_id, digest),
  foreign key (vendor_id, tenant_id, product_id) references product (vendor_id, tenant_id, id)
);
create unique index release_name on release (vendor_id, tenant_id, name) where gone_at is null;
create index release_page on release (vendor_id, name, id) where gone_at is null;
select wall.guard('release');
grant select, insert on release to holdfast_app;
grant update (annotations, generation, revision, updated_at, deleted_at, gone_at, finalizers) on release
  to holdfast_app;

-- Bytes lie in the blob store; a row says how many of them are there.
create table artefact (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
  size bigint not null check (size >= 0),
  received bigint not null default 0 check (received between 0 and size),
  complete boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, digest),
  check (not complete or received = size)
);
select wall.guard('artefact');
grant select, insert, update, delete on artefact to holdfast_app;

create table release_artefact (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  release_id uuid not null,
  name text not null,
  digest text not null,
  primary key (vendor_id, tenant_id, release_id, name),
  foreign key (vendor_id, tenant_id, release_id) references release (vendor_id, tenant_id, id),
  foreign key (vendor_id, tenant_id, digest) references artefact (vendor_id, tenant_id, digest)
);
create index release_artefact_digest on release_artefact (vendor_id, tenant_id, digest);
select wall.guard('release_artefact');
grant select, insert on release_artefact to holdfast_app;

-- What the releases of a product measure. The newest release that declares a meter names its unit.
create table meter (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  product_id uuid not null,
  name text not null,
  release_number bigint not null,
  unit text not null,
  kind smallint not null check (kind between 1 and 3),
  gap smallint not null,
  max_rate_per_second bigint not null check (max_rate_per_second > 0),
  primary key (vendor_id, tenant_id, product_id, name, release_number),
  foreign key (vendor_id, tenant_id, product_id) references product (vendor_id, tenant_id, id)
);
select wall.guard('meter');
grant select, insert on meter to holdfast_app;

create table release_floor (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  product_id uuid not null,
  min_release_number bigint not null check (min_release_number > 0),
  envelope bytea not null,
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, product_id),
  foreign key (vendor_id, tenant_id, product_id) references product (vendor_id, tenant_id, id)
);
select wall.guard('release_floor');
grant select, insert, update on release_floor to holdfast_app;

-- Points at the newest version; what a plan says is in plan_version, which never changes.
create table plan (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  id uuid not null,
  name text not null,
  product_id uuid not null,
  newest_version integer not null default 1 check (newest_version > 0),
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
  foreign key (vendor_id, tenant_id, product_id) references product (vendor_id, tenant_id, id)
);
create unique index plan_name on plan (vendor_id, tenant_id, name) where gone_at is null;
create index plan_page on plan (vendor_id, name, id) where gone_at is null;
select wall.guard('plan');
grant select, insert, update on plan to holdfast_app;

create table plan_version (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  plan_id uuid not null,
  version integer not null check (version > 0),
  tenancy_model smallint not null check (tenancy_model in (1, 2)),
  seats_max integer not null check (seats_max > 0),
  -- Proto JSON of holdfast.api.v1.PlanSpec.
  spec jsonb not null,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, plan_id, version),
  -- For keys from tenants' rows.
  unique (vendor_id, plan_id, version),
  foreign key (vendor_id, tenant_id, plan_id) references plan (vendor_id, tenant_id, id)
);
select wall.guard('plan_version');
grant select, insert on plan_version to holdfast_app;

create table environment (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  id uuid not null,
  name text not null,
  rank integer not null default 0,
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
create unique index environment_name on environment (vendor_id, tenant_id, name) where gone_at is null;
create index environment_page on environment (vendor_id, name, id) where gone_at is null;
select wall.guard('environment');
grant select, insert, update on environment to holdfast_app;
