-- A join token says which agent its bearer replaces: the cell's highest fencing number when it was made. 0: the cell
-- has had no agent. It lets nobody in once another agent has come, so that two takeovers never follow by accident.

alter table join_token add column takes_over bigint not null default 0 check (takes_over >= 0);
