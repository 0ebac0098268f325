/** Schema of what people have accepted of drift, and of the salt by which values are told apart without being told. */

export const DRIFT_SCHEMA = `
create table drift_adoption (
  instance_id text not null,
  resource_id text not null,
  incarnation integer not null,
  number integer not null,
  digest text not null,
  at integer not null,
  primary key (instance_id, resource_id)
) strict, without rowid;
create table drift_salt (salt blob not null) strict;
insert into drift_salt (salt) values (randomblob(32))`;
