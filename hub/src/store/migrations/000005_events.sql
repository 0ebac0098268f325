-- Event feed and audit trail in one. A use case inserts rows without a position; the sequencer gives
-- committed rows a dense position and a hash in the chain of their (vendor, tenant), and a position in the
-- vendor's feed. hash = SHA-256(previous hash, position, SHA-256(salt, payload)): payload and salt can be
-- erased without breaking the chain.

create table event (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  id uuid not null,
  -- noun.verb, such as instance.updated.
  type text not null,
  subject_kind text not null,
  subject_id uuid not null,
  -- The subject's revision, taken under its row lock: the order of its events.
  subject_revision bigint not null,
  -- Order within one revision of one subject.
  ordinal smallint not null default 0,
  occurred_at timestamptz not null,
  -- The exact text that was hashed: JSON with all that the event says. Null once erased.
  payload text,
  salt bytea check (octet_length(salt) = 16),
  payload_hash bytea not null check (octet_length(payload_hash) = 32),
  position bigint,
  feed_position bigint,
  hash bytea check (octet_length(hash) = 32),
  primary key (vendor_id, tenant_id, id),
  unique (vendor_id, id),
  check ((position is null) = (hash is null) and (position is null) = (feed_position is null))
);
create unique index event_position on event (vendor_id, tenant_id, position) where position is not null;
create unique index event_feed on event (vendor_id, feed_position) where position is not null;
create index event_waiting on event (vendor_id, subject_id, subject_revision, ordinal, id)
  where position is null;
create index event_subject on event (vendor_id, tenant_id, subject_id, position) where position is not null;
select wall.guard('event');
grant select, insert on event to holdfast_app;
grant update (position, feed_position, hash) on event to holdfast_app;

-- What has a position keeps it: column grants alone would let it be written again.
create function wall.position_once() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if old.position is not null then
    raise exception 'EVENT_SEQUENCED' using errcode = 'insufficient_privilege';
  end if;
  return new;
end
$$;
revoke all on function wall.position_once() from public;
create trigger position_once before update of position, feed_position, hash on event
  for each row execute function wall.position_once();

create table event_head (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null,
  position bigint not null,
  hash bytea not null check (octet_length(hash) = 32),
  updated_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id)
);
select wall.guard('event_head');
grant select, insert, update on event_head to holdfast_app;

-- The vendor's feed: where it stands, and the fence of the sequencer that wrote last.
create table event_feed_head (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  position bigint not null,
  fence bigint not null,
  primary key (vendor_id, tenant_id)
);
select wall.guard('event_feed_head');
grant select, insert, update on event_feed_head to holdfast_app;

create table event_checkpoint (
  vendor_id uuid not null default wall.vendor(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  -- The feed position that it covers.
  position bigint not null,
  -- The exact text that was signed: the heads of all chains of the vendor.
  body text not null,
  key_id text not null,
  signature bytea not null,
  created_at timestamptz not null default now(),
  primary key (vendor_id, tenant_id, position)
);
select wall.guard('event_checkpoint');
grant select, insert on event_checkpoint to holdfast_app;
