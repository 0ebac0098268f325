-- What a tenant may read of facts that the vendor owns: these named views and nothing else. They run as
-- holdfast_view, which sees one vendor's rows; each view itself limits rows to what the caller's own
-- rows refer to. Staff see through the same views, so that there is one way to read.

select wall.show('subscription');
select wall.show('instance');
select wall.show('instance_status');
select wall.show('seat');
select wall.show('cell');
select wall.show('agent_session');
select wall.show('product');
select wall.show('plan');
select wall.show('plan_version');
select wall.show('release');
select wall.show('environment');
select wall.show('meter');

-- Instances that the caller owns or has a seat in.
create view reachable_instance with (security_barrier) as
  select i.vendor_id, i.id
    from instance i
   where i.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
     and i.cell_id between (select wall.cell_lo()) and (select wall.cell_hi())
  union
  select s.vendor_id, s.instance_id
    from seat s
   where s.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
     and s.cell_id between (select wall.cell_lo()) and (select wall.cell_hi());

create view visible_plan with (security_barrier) as
  select p.vendor_id, p.id, p.name, p.product_id
    from plan p
   where p.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from subscription s
                  where s.vendor_id = p.vendor_id and s.plan_id = p.id
                    and s.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi()));

create view visible_product with (security_barrier) as
  select r.vendor_id, r.id, r.name, r.display_name
    from product r
   where r.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from visible_plan p where p.vendor_id = r.vendor_id and p.product_id = r.id)
      or exists (select from instance i join reachable_instance a on a.vendor_id = i.vendor_id and a.id = i.id
                  where i.vendor_id = r.vendor_id and i.product_id = r.id);

create view visible_release with (security_barrier) as
  select r.vendor_id, r.id, r.name, r.product_id, r.version, r.number, r.digest
    from release r
   where r.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from instance i join reachable_instance a on a.vendor_id = i.vendor_id and a.id = i.id
                  where i.vendor_id = r.vendor_id and i.release_id = r.id);

create view visible_environment with (security_barrier) as
  select e.vendor_id, e.id, e.name
    from environment e
   where e.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from instance i
                  where i.vendor_id = e.vendor_id and i.environment_id = e.id
                    and i.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi()));

-- Own cells, and the name and region of the hosted ones that own instances run in.
create view visible_cell with (security_barrier) as
  select c.vendor_id, c.tenant_id, c.id, c.name, c.kind, c.region
    from cell c
   where (c.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from instance i
                  where i.vendor_id = c.vendor_id and i.cell_id = c.id
                    and i.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())))
     and c.id between (select wall.cell_lo()) and (select wall.cell_hi());

-- Units of what the caller's instances and seats measure: the newest declaration of each meter.
create view visible_meter with (security_barrier) as
  select distinct on (m.vendor_id, m.product_id, m.name)
         m.vendor_id, m.product_id, m.name, m.unit, m.kind
    from meter m
   where m.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
      or exists (select from instance i join reachable_instance a on a.vendor_id = i.vendor_id and a.id = i.id
                  where i.vendor_id = m.vendor_id and i.product_id = m.product_id)
   order by m.vendor_id, m.product_id, m.name, m.release_number desc;

-- How the instance behind a seat does: all that a tenant learns of a pooled one. Outputs are published
-- for the tenant's own instance only; a pooled one shows those that every seat needs to reach it.
create view seat_instance with (security_barrier) as
  select s.vendor_id, s.tenant_id, s.id as seat_id, s.cell_id, i.product_id,
         t.committed_release, t.conditions, t.outputs, t.reported_at,
         (select n.closed_at is null from agent_session n
           where n.vendor_id = t.vendor_id and n.agent_id = t.agent_id) as connected
    from seat s
    join instance i on i.vendor_id = s.vendor_id and i.id = s.instance_id
    left join instance_status t on t.vendor_id = i.vendor_id and t.instance_id = i.id
   where s.tenant_id between (select wall.tenant_lo()) and (select wall.tenant_hi())
     and s.cell_id between (select wall.cell_lo()) and (select wall.cell_hi());

-- Migrations run as holdfast_owner, which may hand objects to holdfast_view.
grant create on schema public to holdfast_view;
alter view reachable_instance owner to holdfast_view;
alter view visible_plan owner to holdfast_view;
alter view visible_product owner to holdfast_view;
alter view visible_release owner to holdfast_view;
alter view visible_environment owner to holdfast_view;
alter view visible_cell owner to holdfast_view;
alter view visible_meter owner to holdfast_view;
alter view seat_instance owner to holdfast_view;
revoke create on schema public from holdfast_view;
grant select on visible_plan, visible_product, visible_release, visible_environment, visible_cell,
  visible_meter, seat_instance to holdfast_app;
