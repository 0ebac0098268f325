-- Takes a batch of usage records in one statement: sets the context, moves the stream on by compare and set,
-- and puts each record into the ledger, aside, or nowhere because it is there already. Runs with the
-- caller's rights, so the wall holds inside. The hub maps seat to tenant; an agent never names a tenant.

create index usage_record_occurrence on usage_record (vendor_id, series_digest, detail) where kind = 3;

-- `body` is JSON: agent, epoch, incarnation, firstSeq, lastSeq, previousHead, head (hex), received (ms), futureMax,
-- lateMax (ms), series [{digest, instance, seat, meter, resource, source, dimensions}] and records
-- [{q: seq, s: index of series, a: start, e: end, k: kind, v: value, d: detail}].
-- Answers {kind: accepted, acceptedSeq, durableSeq, verdicts: [{seq, verdict, reason}]} (2 duplicate,
-- 3 quarantined; accepted records are not listed) or {kind: fenced, reason, expectedSeq}.
create function wall.usage_ingest(said text, mac text, body text) returns jsonb
  language plpgsql volatile set search_path = public, pg_temp
as $$
declare
  batch jsonb := body::jsonb;
  first_seq bigint := (batch->>'firstSeq')::bigint;
  last_seq bigint := (batch->>'lastSeq')::bigint;
  received bigint := (batch->>'received')::bigint;
  stream usage_stream;
  verdicts jsonb;
begin
  perform set_config('holdfast.context', said, true), set_config('holdfast.mac', mac, true),
          set_config('holdfast.body', encode(sha256(convert_to(body, 'UTF8')), 'hex'), true);
  if wall.vendor() is null then
    raise exception 'CONTEXT_MISSING' using errcode = 'insufficient_privilege';
  end if;
  update usage_stream s
     set accepted_seq = last_seq, durable_seq = last_seq, accepted_at = now(),
         accepted_head = decode(batch->>'head', 'hex')
   where s.agent_id = (batch->>'agent')::uuid
     and s.epoch = (batch->>'epoch')::bigint
     and s.incarnation = (batch->>'incarnation')::bigint
     and s.incarnation = (select wall.incarnation())
     and s.accepted_seq = first_seq - 1
     and s.accepted_head = decode(batch->>'previousHead', 'hex')
  returning s.* into stream;
  if not found then return wall.usage_refusal(batch); end if;

  -- Two agents of one cell may bring the same series while one takes over from the other.
  perform pg_advisory_xact_lock(hashtextextended('holdfast.usage/' || stream.cell_id, 0));

  with series as (
    select (g.at - 1)::int as ix, decode(g.one->>'digest', 'hex') as digest,
           (g.one->>'instance')::uuid as instance_id, (g.one->>'seat')::uuid as seat_id,
           g.one->>'meter' as meter, g.one->>'resource' as resource, g.one->>'source' as source,
           g.one->'dimensions' as dimensions
      from jsonb_array_elements(batch->'series') with ordinality as g (one, at)
  ), known as (
    select s.*, t.tenant_id, m.kind as meter_kind, o.last_window_end_ms as old_end, o.last_value as old_value
      from series s
      left join seat t on t.id = s.seat_id and t.instance_id = s.instance_id
      left join instance i on i.id = t.instance_id
      left join lateral (
        select m.kind from meter m
         where m.product_id = i.product_id and m.name = s.meter
         order by m.release_number desc limit 1
      ) m on true
      left join usage_series o on o.digest = s.digest
  ), judged as (
    select r.*, k.*,
           case
             when k.ix is null then 'SERIES_UNKNOWN'
             when k.tenant_id is null then 'SEAT_UNKNOWN'
             when k.meter_kind is null then 'METER_UNKNOWN'
             when r.k <> 4 and r.k <> k.meter_kind then 'KIND_WRONG'
             when r.v < 0 or r.v > 9223372036854775807 then 'VALUE_RANGE'
             when r.e < r.a then 'WINDOW_BACKWARD'
             when r.e > received + (batch->>'futureMax')::bigint then 'WINDOW_FUTURE'
             when r.e < received - (batch->>'lateMax')::bigint then 'WINDOW_LATE'
             when r.k = 1 and r.e <= k.old_end and r.v > k.old_value then 'CONFLICT'
             when r.k = 1 and r.e > k.old_end and r.v < k.old_value then 'DECREASED'
           end as reason,
           case
             when r.k in (1, 2) then coalesce(r.e <= k.old_end, false)
             when r.k = 3 then exists (
               select from usage_record u
                where u.series_digest = k.digest and u.kind = 3 and u.detail = r.d)
             else false
           end as is_known
      from jsonb_to_recordset(batch->'records')
             as r (q bigint, s int, a bigint, e bigint, k smallint, v numeric, d text)
      left join known k on k.ix = r.s
  ), walked as (
    select j.*,
           max(j.e) over before as prior_end,
           greatest(j.old_value, max(j.v) over before) as prior_value,
           row_number() over (partition by j.ix, j.k, j.d order by j.q) as nth
      from judged j
     where j.reason is null and not j.is_known
    window before as (partition by j.ix, j.k order by j.q rows between unbounded preceding and 1 preceding)
  ), settled as (
    select w.*,
           case
             when w.k = 3 and w.nth > 1 then null
             when w.k in (1, 2) and w.e <= w.prior_end then 'WINDOW_ORDER'
             when w.k = 1 and w.v < w.prior_value then 'DECREASED'
           end as refusal
      from walked w
  ), ledger as (
    insert into usage_record (vendor_id, tenant_id, cell_id, agent_id, epoch, seq, series_digest,
           instance_id, seat_id, meter, kind, window_start_ms, window_end_ms, value, quantity, detail)
    select stream.vendor_id, w.tenant_id, stream.cell_id, stream.agent_id, stream.epoch, w.q, w.digest,
           w.instance_id, w.seat_id, w.meter, w.k, w.a, w.e, w.v::bigint,
           case w.k when 1 then (w.v - coalesce(w.prior_value, 0))::bigint when 4 then 0 else w.v::bigint end,
           w.d
      from settled w
     where w.refusal is null and (w.k <> 3 or w.nth = 1)
    on conflict do nothing
    returning seq, series_digest, kind, window_end_ms, value
  ), ends as (
    insert into usage_series as o (vendor_id, tenant_id, cell_id, digest, instance_id, seat_id, meter,
           resource, source, dimensions, last_window_end_ms, last_value)
    select stream.vendor_id, k.tenant_id, stream.cell_id, k.digest, k.instance_id, k.seat_id, k.meter,
           k.resource, k.source, k.dimensions, max(l.window_end_ms),
           coalesce(max(l.value) filter (where l.kind = 1), 0)
      from ledger l join known k on k.digest = l.series_digest
     where l.kind <> 4
     group by k.tenant_id, k.digest, k.instance_id, k.seat_id, k.meter, k.resource, k.source, k.dimensions
     order by k.digest
    on conflict (vendor_id, tenant_id, digest) do update
      set last_window_end_ms = greatest(o.last_window_end_ms, excluded.last_window_end_ms),
          last_value = greatest(o.last_value, excluded.last_value)
  ), said_no as (
    select j.q, 3 as verdict, j.reason, j.tenant_id, j.s, j.a, j.e, j.k, j.v, j.d from judged j
     where j.reason is not null
    union all
    select w.q, 3, w.refusal, w.tenant_id, w.s, w.a, w.e, w.k, w.v, w.d from settled w
     where w.refusal is not null
    union all
    select j.q, 2, '', null, null, null, null, null, null, null from judged j
     where j.reason is null and j.is_known
    union all
    select w.q, 2, '', null, null, null, null, null, null, null from settled w
     -- A hashed sub-plan; `not exists` would be a nested loop over CTEs, two thirds of the time of a batch.
     where w.refusal is null and w.q not in (select l.seq from ledger l)
  ), aside as (
    insert into usage_quarantine (vendor_id, tenant_id, cell_id, agent_id, epoch, seq, reason, record)
    select stream.vendor_id, coalesce(n.tenant_id, stream.tenant_id), stream.cell_id, stream.agent_id,
           stream.epoch, n.q, n.reason,
           jsonb_build_object('series', batch->'series'->n.s, 'windowStartMs', n.a, 'windowEndMs', n.e,
                              'kind', n.k, 'value', n.v, 'detail', n.d)
      from said_no n where n.verdict = 3
    on conflict do nothing
  )
  select coalesce(jsonb_agg(jsonb_build_object('seq', n.q, 'verdict', n.verdict, 'reason', n.reason)
                            order by n.q), '[]')
    into verdicts from said_no n;

  return jsonb_build_object('kind', 'accepted', 'acceptedSeq', stream.accepted_seq::text,
    'durableSeq', stream.durable_seq::text, 'verdicts', verdicts);
end
$$;

-- Why a batch did not fit its stream. A batch that is there already is acknowledged again.
create function wall.usage_refusal(batch jsonb) returns jsonb
  language plpgsql stable set search_path = public, pg_temp
as $$
declare
  first_seq bigint := (batch->>'firstSeq')::bigint;
  last_seq bigint := (batch->>'lastSeq')::bigint;
  s usage_stream;
  reason text;
begin
  select * into s from usage_stream where agent_id = (batch->>'agent')::uuid;
  if not found then
    reason := 'EPOCH_OLD';
  elsif s.incarnation <> (batch->>'incarnation')::bigint or s.incarnation <> wall.incarnation() then
    reason := 'INCARNATION_OLD';
  elsif s.epoch <> (batch->>'epoch')::bigint then
    reason := 'EPOCH_OLD';
  elsif last_seq = s.accepted_seq and decode(batch->>'head', 'hex') <> s.accepted_head then
    reason := 'IDENTITY_FORKED';
  elsif last_seq <= s.accepted_seq then
    return jsonb_build_object('kind', 'accepted', 'acceptedSeq', s.accepted_seq::text,
      'durableSeq', s.durable_seq::text, 'verdicts', '[]'::jsonb);
  elsif first_seq = s.accepted_seq + 1 then
    reason := 'CHAIN_BROKEN';
  else
    reason := 'EXPECTED_SEQ';
  end if;
  return jsonb_build_object('kind', 'fenced', 'reason', reason,
    'expectedSeq', coalesce(s.accepted_seq + 1, 1)::text);
end
$$;

revoke all on function wall.usage_ingest(text, text, text), wall.usage_refusal(jsonb) from public;
grant execute on function wall.usage_ingest(text, text, text), wall.usage_refusal(jsonb) to holdfast_app;
