-- What an instance's agent does where somebody else changed what it has brought up.

alter table instance
  -- DriftPolicy: 1 report, 2 revert, 3 hold.
  add column drift_policy smallint not null default 1 check (drift_policy in (1, 2, 3));
