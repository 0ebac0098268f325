-- Where things run and what is wanted there: cells, agents, subscriptions, instances, seats, assignments.
-- Tables that the link touches carry the cell, and their wall has a cell range: an agent's context spans
-- its vendor's tenants and exactly one cell. A reference to an object that either the row's own tenant or
-- the vendor owns carries the owner beside it, so that it can never reach another tenant's object.

create table cell (
  vendor_id uuid not null default wall.vendor(),
  -- The tenant of a byoa cell; nil for a hosted one.
  tenant_id uuid not null,
  id uuid not null,
  name text not null,
  kind smallint not null check (kind in (1, 2)),
  region text not null default '',
  account text not null default '',
  runtime text not null default '',
  facts jsonb not null default '{}',
  -- Highest fencing number that was given to an agent here; that agent is the active one.
  fencing bigint not null default 0,
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
  check ((kind = 2) = (tenant_id = '00000000-0000-0000-0000-000000000000'))
);
create unique index cell_name on cell (vendor_id, tenant_id, name) where gone_at is null;
create index cell_page on cell (vendor_id, name, id) where gone_at is null;
select wall.guard('cell', 'id');
grant select, insert, update on cell to holdfast_app;

create table agent (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  cell_id uuid not null,
  name text not null,
  fencing bigint not null check (fencing > 0),
  -- Raw Ed25519 public key.
  identity_key bytea not null check (octet_length(identity_key) = 32),
  host_name text not null default '',
  version text not null default '',
  platform text not null default '',
  -- [{name, available, reason}] as in its last hello.
  capabilities jsonb not null default '[]',
  boot_id text not null default '',
  -- When a session was last seen; written as sessions open and close, not by heartbeats.
  seen_at timestamptz,
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
  unique (vendor_id, tenant_id, cell_id, fencing),
  foreign key (vendor_id, tenant_id, cell_id) references cell (vendor_id, tenant_id, id)
);
create unique index agent_name on agent (vendor_id, tenant_id, name) where gone_at is null;
create index agent_page on agent (vendor_id, name, id) where gone_at is null;
select wall.guard('agent', 'cell_id');
grant select, insert, update on agent to holdfast_app;

create table join_token (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  cell_id uuid not null,
  secret_hash bytea not null check (octet_length(secret_hash) = 32),
  created_by text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  used_by uuid,
  revoked_at timestamptz,
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  foreign key (vendor_id, tenant_id, cell_id) references cell (vendor_id, tenant_id, id)
);
create index join_token_cell on join_token (vendor_id, tenant_id, cell_id);
select wall.guard('join_token', 'cell_id');
grant select, insert, delete on join_token to holdfast_app;
grant update (used_at, used_by, revoked_at) on join_token to holdfast_app;

create table agent_certificate (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  agent_id uuid not null,
  -- Serial number in lower-case hex.
  serial text not null,
  fencing bigint not null,
  not_before timestamptz not null,
  not_after timestamptz not null,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, agent_id, serial),
  foreign key (vendor_id, tenant_id, agent_id) references agent (vendor_id, tenant_id, id)
);
create index agent_certificate_age on agent_certificate (vendor_id, not_after);
select wall.guard('agent_certificate', 'cell_id');
grant select, insert, delete on agent_certificate to holdfast_app;
grant update (revoked_at) on agent_certificate to holdfast_app;

-- One row for each agent; `session` grows with each session and guards what sessions write.
create table agent_session (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  agent_id uuid not null,
  session bigint not null check (session > 0),
  -- Which hub process holds the stream.
  replica text not null,
  opened_at timestamptz not null default now(),
  closed_at timestamptz,
  primary key (vendor_id, tenant_id, agent_id),
  foreign key (vendor_id, tenant_id, agent_id) references agent (vendor_id, tenant_id, id)
);
select wall.guard('agent_session', 'cell_id');
grant select, insert, update on agent_session to holdfast_app;

create table instance (
  vendor_id uuid not null default wall.vendor(),
  -- Nil for a pooled one.
  tenant_id uuid not null,
  id uuid not null,
  name text not null,
  cell_id uuid not null,
  cell_tenant_id uuid not null,
  product_id uuid not null,
  release_id uuid not null,
  plan_id uuid not null,
  plan_version integer not null,
  subscription_id uuid,
  environment_id uuid,
  parameters jsonb not null default '{}',
  run_state smallint not null default 1 check (run_state in (1, 2)),
  -- Secret name to the name that the customer keeps it under.
  local_secrets jsonb not null default '{}',
  -- Generation of the newest assignment; 0.0 before the first one.
  assigned_incarnation bigint not null default 0,
  assigned_number bigint not null default 0,
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
  foreign key (vendor_id, cell_tenant_id, cell_id) references cell (vendor_id, tenant_id, id),
  foreign key (vendor_id, product_id) references product (vendor_id, id),
  foreign key (vendor_id, release_id) references release (vendor_id, id),
  foreign key (vendor_id, plan_id, plan_version) references plan_version (vendor_id, plan_id, version),
  foreign key (vendor_id, environment_id) references environment (vendor_id, id),
  check (cell_tenant_id in (tenant_id, '00000000-0000-0000-0000-000000000000'))
);
create unique index instance_name on instance (vendor_id, tenant_id, name) where gone_at is null;
create index instance_page on instance (vendor_id, name, id) where gone_at is null;
create index instance_cell on instance (vendor_id, cell_id) where gone_at is null;
create index instance_release on instance (vendor_id, release_id) where gone_at is null;
select wall.guard('instance', 'cell_id');
grant select, insert, update on instance to holdfast_app;

create table subscription (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  name text not null,
  plan_id uuid not null,
  plan_version integer not null,
  -- The pooled instance to be seated in.
  instance_id uuid,
  starts_at timestamptz not null,
  ends_at timestamptz,
  overrides jsonb not null default '{}',
  -- The tenant that pays; null for the subscribing one.
  bill_to_id uuid,
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
  foreign key (vendor_id, plan_id, plan_version) references plan_version (vendor_id, plan_id, version),
  foreign key (vendor_id, instance_id) references instance (vendor_id, id),
  foreign key (vendor_id, bill_to_id) references tenant (vendor_id, id),
  check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
  check (ends_at > starts_at)
);
create unique index subscription_name on subscription (vendor_id, tenant_id, name) where gone_at is null;
create index subscription_page on subscription (vendor_id, name, id) where gone_at is null;
create index subscription_plan on subscription (vendor_id, plan_id) where gone_at is null;
select wall.guard('subscription');
grant select, insert, update on subscription to holdfast_app;

alter table instance add foreign key (vendor_id, tenant_id, subscription_id)
  references subscription (vendor_id, tenant_id, id);

create table seat (
  vendor_id uuid not null default wall.vendor(),
  -- Whose usage is counted on it; nil for the reserved one.
  tenant_id uuid not null,
  id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  instance_tenant_id uuid not null,
  subscription_id uuid,
  -- What the workload calls the tenant.
  name text not null,
  reserved boolean not null default false,
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
  foreign key (vendor_id, instance_tenant_id, instance_id) references instance (vendor_id, tenant_id, id),
  foreign key (vendor_id, tenant_id, subscription_id) references subscription (vendor_id, tenant_id, id),
  check (instance_tenant_id in (tenant_id, '00000000-0000-0000-0000-000000000000')),
  check (reserved or tenant_id <> '00000000-0000-0000-0000-000000000000')
);
-- Seats of several tenants share an instance's names; only the vendor gives them.
create unique index seat_name on seat (vendor_id, instance_id, name) where gone_at is null;
create index seat_page on seat (vendor_id, name, id) where gone_at is null;
create unique index seat_reserved on seat (vendor_id, instance_id) where reserved and gone_at is null;
create index seat_subscription on seat (vendor_id, tenant_id, subscription_id);
select wall.guard('seat', 'cell_id');
grant select, insert, update on seat to holdfast_app;

-- The agent's latest word on an instance.
create table instance_status (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  -- A serialised holdfast.model.v1.InstanceStatus.
  report bytea not null,
  observed_incarnation bigint not null,
  observed_number bigint not null,
  committed_incarnation bigint not null,
  committed_number bigint not null,
  committed_release text not null,
  -- [{type, status, reason, message, lastTransitionTime}], status True, False or Unknown.
  conditions jsonb not null,
  outputs jsonb not null default '{}',
  removed boolean not null default false,
  agent_id uuid not null,
  session bigint not null,
  reported_at timestamptz not null,
  revision bigint not null default 1,
  primary key (vendor_id, tenant_id, instance_id),
  unique (vendor_id, instance_id),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id)
);
select wall.guard('instance_status', 'cell_id');
grant select, insert, update on instance_status to holdfast_app;

-- The latest signed wish for each instance, as the link writes it.
create table assignment (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  incarnation bigint not null,
  number bigint not null,
  -- Of the assignment's payload.
  digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
  release_digest text not null,
  -- A serialised holdfast.link.v1.ControlResponse that holds the offer.
  offer bytea not null,
  tombstone boolean not null default false,
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, instance_id),
  unique (vendor_id, instance_id),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id)
);
create index assignment_cell on assignment (vendor_id, cell_id, instance_id);
select wall.guard('assignment', 'cell_id');
grant select, insert, update, delete on assignment to holdfast_app;

create table entitlement (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  incarnation bigint not null,
  number bigint not null,
  digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
  -- A serialised holdfast.model.v1.Envelope.
  envelope bytea not null,
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, instance_id),
  unique (vendor_id, instance_id),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id)
);
create index entitlement_cell on entitlement (vendor_id, cell_id, instance_id);
select wall.guard('entitlement', 'cell_id');
grant select, insert, update, delete on entitlement to holdfast_app;

-- The newest freshness note of each cell.
create table freshness (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  cell_id uuid not null,
  envelope bytea not null,
  signed_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (vendor_id, tenant_id, cell_id),
  foreign key (vendor_id, tenant_id, cell_id) references cell (vendor_id, tenant_id, id)
);
select wall.guard('freshness', 'cell_id');
grant select, insert, update, delete on freshness to holdfast_app;
