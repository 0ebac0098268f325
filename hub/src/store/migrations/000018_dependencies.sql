-- Instances that take outputs of others of their cell.

alter table instance
  -- Name that the release gives it to the id of the instance that stands for it.
  add column needs jsonb not null default '{}' check (jsonb_typeof(needs) = 'object');
create index instance_needing on instance (vendor_id, cell_id) where gone_at is null and needs <> '{}';
