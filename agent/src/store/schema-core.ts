/**
 * First schema of the store: identity, pins, assignments, attempts with their journal, and what the local
 * page shows. Times are wall-clock milliseconds; payloads stay the bytes that were signed.
 */

const WISHES = [
  // Newest accepted assignment of each instance.
  `create table assignment (
    instance_id text primary key,
    envelope blob not null,
    digest text not null,
    incarnation integer not null,
    number integer not null,
    release_digest text not null,
    accepted_at integer not null,
    removed integer not null default 0
  ) strict`,
  `create table release (
    digest text primary key,
    envelope blob not null,
    stored_at integer not null
  ) strict`,
  `create table entitlement (
    instance_id text primary key,
    envelope blob not null,
    digest text not null,
    incarnation integer not null,
    number integer not null,
    delivered integer not null default 0
  ) strict`,
  // Newest offer that was not acceptable, until something newer is accepted.
  `create table refusal (
    instance_id text primary key,
    incarnation integer not null,
    number integer not null,
    release_version text not null,
    reason text not null,
    message text not null,
    at integer not null
  ) strict`,
];

const ATTEMPTS = [
  // The newest attempt of each instance; phase says where a crash left it.
  `create table attempt (
    instance_id text primary key,
    id integer not null,
    incarnation integer not null,
    number integer not null,
    release_version text not null,
    inputs_digest text not null,
    phase text not null check (phase in ('APPLYING', 'UNDOING', 'CLEANING', 'ENDED')),
    state text not null,
    reason text not null,
    message text not null,
    steps text not null,
    started_at integer not null,
    ended_at integer
  ) strict`,
  // One row for each change of a step's state, appended; the newest row of a position counts.
  `create table journal (
    instance_id text not null,
    position integer not null,
    change integer not null,
    state text not null check (state in ('PLANNED', 'BEGUN', 'DONE', 'FAILED', 'UNDOING', 'UNDONE')),
    step text not null,
    at integer not null,
    primary key (instance_id, position, change)
  ) strict, without rowid`,
  // What resources were rendered to: of the committed generation, and of the attempt until it ends.
  `create table rendering (
    instance_id text not null,
    digest text not null,
    body text not null,
    primary key (instance_id, digest)
  ) strict, without rowid`,
  `create table committed (
    instance_id text primary key,
    incarnation integer not null,
    number integer not null,
    assignment_digest text not null,
    release_digest text not null,
    release_version text not null,
    assignment blob not null,
    body text not null,
    committed_at integer not null
  ) strict`,
];

export const CORE_SCHEMA = [
  `create table identity (
    id integer primary key check (id = 1),
    vendor_id text not null,
    cell_id text not null,
    agent_id text not null,
    fencing integer not null,
    tls_key blob not null,
    identity_seed blob not null,
    certificate blob not null,
    link_endpoints text not null,
    identity_endpoints text not null
  ) strict`,
  `create table key_set (
    purpose integer primary key,
    version integer not null,
    payload blob not null
  ) strict`,
  `create table floor (
    product text primary key,
    min_release_number integer not null,
    envelope blob not null
  ) strict`,
  `create table freshness (
    id integer primary key check (id = 1),
    envelope blob not null
  ) strict`,
  // Single facts: the hub's incarnation, the state of the link.
  "create table fact (name text primary key, value text not null) strict",
  ...WISHES,
  ...ATTEMPTS,
  // The status as it was last worked out, for the link and for whoever asks without a running agent.
  `create table status (
    instance_id text primary key,
    version integer not null,
    body blob not null
  ) strict`,
  `create table action_done (
    id text primary key,
    result blob not null,
    at integer not null
  ) strict`,
].join(";\n");
