-- Two processes with one identity: what the hub remembers of an agent's lives, and that it lets neither in. Beside it,
-- when an agent that was fenced last tried to act and its owner was told.

alter table agent
  -- [{id, returns}] of the last few processes that said hello; see domain/lives.ts.
  add column lives jsonb not null default '[]' check (jsonb_typeof(lives) = 'array'),
  -- Until another agent takes over, which is then the active one.
  add column frozen_at timestamptz,
  add column refused_at timestamptz;
