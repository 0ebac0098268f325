-- Who a token stands for, in one round trip: every call of the API begins with it. `body` is the SHA-256 of the
-- token's secret in hex. Runs with the caller's rights, in a context that is bound to this body.
-- Answers {tokenId, tenantId, tenantName, memberId, memberName, roles}, roles that have not expired; null when the
-- token is unknown, expired or revoked, or its member or tenant is leaving.
create function wall.sign_in(said text, mac text, body text) returns jsonb
  language plpgsql volatile set search_path = public, pg_temp
as $$
begin
  perform set_config('holdfast.context', said, true), set_config('holdfast.mac', mac, true),
          set_config('holdfast.body', encode(sha256(convert_to(body, 'UTF8')), 'hex'), true);
  if wall.vendor() is null then
    raise exception 'CONTEXT_MISSING' using errcode = 'insufficient_privilege';
  end if;
  return (
    select jsonb_build_object(
             'tokenId', t.id, 'tenantId', t.tenant_id, 'tenantName', coalesce(o.name, ''),
             'memberId', m.id, 'memberName', m.name,
             'roles', coalesce((select jsonb_agg(g.role order by g.role) from access_grant g
                                 where g.tenant_id = t.tenant_id and g.member_id = m.id
                                   and (g.expires_at is null or g.expires_at > now())), '[]'))
      from api_token t
      join member m on m.tenant_id = t.tenant_id and m.id = t.member_id
      left join tenant o on o.tenant_id = t.tenant_id and o.id = t.tenant_id
     where t.secret_hash = decode(body, 'hex') and t.revoked_at is null and t.expires_at > now()
       and m.deleted_at is null and m.gone_at is null and o.gone_at is null);
end
$$;

revoke all on function wall.sign_in(text, text, text) from public;
grant execute on function wall.sign_in(text, text, text) to holdfast_app;
