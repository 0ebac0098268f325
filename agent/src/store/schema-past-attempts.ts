/** Second schema of attempts: what more is told of each, and those before the newest one. */

export const PAST_ATTEMPTS_SCHEMA = [
  // What the step list was judged as, where each resource is after a PARTIAL one, and what was published.
  "alter table attempt add column more text not null default '{}'",
  `create table past_attempt (
    instance_id text not null,
    id integer not null,
    body text not null,
    primary key (instance_id, id)
  ) strict, without rowid`,
].join(";\n");
