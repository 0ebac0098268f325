/** What the agent's metrics say at a scrape, read from its parts. Changes nothing. */
import type { Clock } from "@holdfast/shared/clock.ts";
import { timesOf } from "./link/renewal.ts";
import type { AgentFigures } from "./metrics.ts";
import type { Engine } from "./reconcile/engine.ts";
import { conditionCounts } from "./reconcile/observe.ts";
import * as attempts from "./store/attempts.ts";
import type { Store } from "./store/database.ts";
import * as facts from "./store/facts.ts";
import * as identities from "./store/identity.ts";
import type { Outbox } from "./store/outbox.ts";
import type { AgentTelemetry } from "./telemetry/telemetry.ts";

export type FigureSources = Readonly<{
  store: Store;
  outbox: Outbox;
  telemetry: AgentTelemetry;
  host: Readonly<{ version: string }>;
  /** Before it is there no instance is known. */
  late: Readonly<{ engine?: Engine }>;
  clock: Clock;
}>;

export function agentFigures(sources: FigureSources): AgentFigures {
  const { store, outbox, telemetry, host, late, clock } = sources;
  const { oldestEndMs, ...usage } = outbox.backlog();
  const oldestAgeMs = oldestEndMs === undefined ? 0 : Math.max(0, clock.now() - oldestEndMs);
  return {
    version: host.version,
    linkUp: facts.findLink(store)?.up ?? false,
    isFenced: facts.findFenced(store) !== undefined,
    certificateEndsAtMs: timesOf(identities.load(store).certificate).notAfter,
    instances: late.engine === undefined ? [] : conditionCounts(late.engine),
    storeBytes: store.bytes(),
    journalRows: attempts.countJournal(store),
    usage: { ...usage, oldestAgeMs },
    telemetry: telemetry.waiting,
  };
}
