-- One-off orders to agents. An order is bound to the agent that it was first given to: a later one of the cell
-- cannot know whether it was done.

create table action (
  vendor_id uuid not null default wall.vendor(),
  -- The instance's.
  tenant_id uuid not null,
  id uuid not null,
  cell_id uuid not null,
  instance_id uuid not null,
  -- ActionKind of the contract.
  kind smallint not null check (kind > 0),
  -- Empty: all of the instance.
  resource text not null,
  -- ActionStatus of the contract: pending, sent, done, failed, expired, refused.
  state smallint not null default 1 check (state between 1 and 6),
  reason text not null default '',
  message text not null default '',
  -- Who asked for it.
  principal text not null,
  -- The agent that it was given to.
  agent_id uuid,
  created_at timestamptz not null,
  not_after timestamptz not null,
  sent_at timestamptz,
  ended_at timestamptz,
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  foreign key (vendor_id, tenant_id, instance_id) references instance (vendor_id, tenant_id, id),
  check ((sent_at is null) = (agent_id is null)),
  check ((ended_at is null) = (state <= 2))
);
create index action_instance on action (vendor_id, instance_id, id);
create index action_open on action (vendor_id, cell_id, id) where ended_at is null;
create index action_ended on action (vendor_id, ended_at) where ended_at is not null;
select wall.guard('action', 'cell_id');
grant select, insert, delete on action to holdfast_app;
grant update (state, reason, message, agent_id, sent_at, ended_at) on action to holdfast_app;
