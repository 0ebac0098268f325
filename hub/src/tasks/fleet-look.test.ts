/** What metrics say of the whole hub, looked at in a real PostgreSQL: over all vendors, and unknown while it is away. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { expect, it } from "vitest";
import type { FleetFigures } from "../metrics.ts";
import * as events from "../store/events.ts";
import { silentLog, startTestStore, useTestStore } from "../store/testing.ts";
import { makeWorld, newId } from "../store/testing-world.ts";
import { withContext } from "../store/tx.ts";
import { type FleetLookDeps, look, runFleetLook } from "./fleet-look.ts";

const store = useTestStore();
const WAITED_MS = 90_000;

const deps = (database: FleetLookDeps["database"]): FleetLookDeps => ({
  ...{ database, clock: systemClock, log: silentLog },
  telemetry: { size: async () => ({ logBytes: 7, sampleBytes: 9 }) },
  seen: () => undefined,
});

it("counts events without a place, and says since when the oldest waits", async () => {
  const { database } = store();
  expect(await look(deps(database))).toMatchObject({ eventsWaiting: 0, oldestEventAgeMs: 0 });
  const world = await makeWorld(database);
  const before = await look(deps(database));
  await withContext(database, world.context, (tx) =>
    events.append(tx, [
      {
        tenantId: world.tenants.acme,
        ...{ type: "tenant.updated", subjectKind: "tenant", subjectName: "acme" },
        ...{ subjectId: newId(), subjectRevision: 1n, reason: "", requestId: newId() },
        ...{ principal: "member/a", permission: "tenant.update" },
        occurredAt: new Date(Date.now() - WAITED_MS),
      },
    ]),
  );
  const { eventsWaiting, oldestEventAgeMs, ...rest } = await look(deps(database));
  expect(eventsWaiting).toBe(before.eventsWaiting + 1);
  expect(oldestEventAgeMs).toBeGreaterThanOrEqual(WAITED_MS);
  expect(oldestEventAgeMs).toBeLessThan(WAITED_MS + 60_000);
  expect(rest).toMatchObject({ telemetryLogBytes: 7, telemetrySampleBytes: 9 });
});

it("tells agents that are away for long from those that are away for a moment", async () => {
  const { database } = store();
  const world = await makeWorld(database);
  const before = await look(deps(database));
  await withContext(database, world.context, async (tx) => {
    for (const minutes of [undefined, 1, 11]) {
      const [cellId, agentId] = [newId(), newId()];
      await tx.query(
        "insert into cell (tenant_id, id, name, kind, fencing) values ($1, $2, $3, 1, 1)",
        [world.tenants.acme, cellId, `cell-${minutes}`],
      );
      await tx.query(
        `insert into agent (tenant_id, cell_id, id, name, fencing, identity_key)
         values ($1, $2, $3, $4, 1, $5)`,
        [world.tenants.acme, cellId, agentId, `agent-${minutes}`, Buffer.alloc(32)],
      );
      await tx.query(
        `insert into agent_session (tenant_id, cell_id, agent_id, session, replica, closed_at)
         values ($1, $2, $3, 1, 'a', now() - make_interval(mins => $4))`,
        [world.tenants.acme, cellId, agentId, minutes],
      );
    }
  });
  const after = await look(deps(database));
  expect(after.agents - before.agents).toBe(3);
  expect(after.agentsAbsent - before.agentsAbsent).toBe(1);
});

it("is unknown while the database is away, never what it was", async () => {
  const lost = await startTestStore();
  await lost.close();
  const stop = new AbortController();
  const seen: (FleetFigures | undefined)[] = [];
  await runFleetLook(
    {
      ...deps(lost.database),
      seen(figures) {
        seen.push(figures);
        stop.abort();
      },
    },
    stop.signal,
  );
  expect(seen).toEqual([undefined]);
});
