/**
 * Carries rings between the processes of one hub, so that an agent hears of a change, an order or its end at once
 * wherever its stream is. A notice says no more than which cell to look at; whoever hears it looks for itself. After
 * each new beginning to listen this process looks at all of its own agents, since what was said meanwhile is gone.
 */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { isUuid } from "@holdfast/shared/ids.ts";
import type { CellRef } from "../app/cell-bells.ts";
import type { AppDeps } from "../app/deps.ts";
import * as agents from "../store/agents.ts";
import * as cells from "../store/cells.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Connection } from "../store/database.ts";
import { announce, listen, NOTICE_BYTES_MAX } from "../store/notices.ts";
import * as sessions from "../store/sessions.ts";
import { readWithContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";

/** Cells that wait to be told of, or to be looked at; past it all are looked at. */
export const NOTICES_MAX = 50_000;
const LOOK_MS_MAX = 60_000;
const RETRY = { baseMs: 100, capMs: 5_000 };

/** `wishes` and `orders` may have changed, `agents` may be welcome no more, or all of that in `all` cells. */
type Kind = "wishes" | "orders" | "agents";
const KINDS: readonly string[] = ["wishes", "orders", "agents"] satisfies readonly Kind[];
const ALL = "all";

export type RelayDeps = Pick<
  AppDeps,
  "database" | "clock" | "log" | "replica" | "cellBells" | "actionBells" | "outcasts"
> &
  Readonly<{
    random(): number;
    /** To the database itself: a pooler in between hands no notices on. */
    connection: Connection;
  }>;

/** Until the signal. Never throws: what fails is tried again. */
export async function runRelay(deps: RelayDeps, signal: AbortSignal): Promise<void> {
  await new Relay(deps).run(signal);
}

/** What waits; a set, so that rings coalesce. */
class Waiting {
  readonly bell: Doorbell;
  #items = new Set<string>();

  constructor(bell: Doorbell) {
    this.bell = bell;
  }

  add(item: string): void {
    if (this.#items.size >= NOTICES_MAX) this.#items = new Set([ALL]);
    this.#items.add(item);
    this.bell.ring();
  }

  take(): readonly string[] {
    const items = [...this.#items];
    this.#items = new Set();
    return items.includes(ALL) ? [ALL] : items;
  }
}

class Relay {
  readonly #deps: RelayDeps;
  readonly #toTell: Waiting;
  readonly #toLookAt: Waiting;
  /** What rings now was heard from another process, and is not told again. */
  #isHearing = false;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
    this.#toTell = new Waiting(new Doorbell(deps.clock));
    this.#toLookAt = new Waiting(new Doorbell(deps.clock));
  }

  async run(signal: AbortSignal): Promise<void> {
    const { cellBells, actionBells, outcasts } = this.#deps;
    const stops = [
      cellBells.listen((cell) => this.#tell("wishes", cell)),
      actionBells.listen((cell) => this.#tell("orders", cell)),
      outcasts.listen((expelled) => this.#tell("agents", expelled)),
    ];
    const end = () => {
      for (const { bell } of [this.#toTell, this.#toLookAt]) bell.ring();
    };
    signal.addEventListener("abort", end, { once: true });
    try {
      await Promise.all([
        this.#workOff(this.#toTell, (items) => this.#announce(items), signal),
        this.#workOff(this.#toLookAt, (items) => this.#look(items), signal),
        this.#hear(signal),
      ]);
    } finally {
      for (const stop of stops) stop();
    }
  }

  #tell(kind: Kind, { vendorId, cellId }: CellRef): void {
    if (!this.#isHearing) this.#toTell.add(`${kind} ${vendorId} ${cellId}`);
  }

  /** What failed is put back. */
  async #workOff(
    waiting: Waiting,
    work: (items: readonly string[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, random } = this.#deps;
    for (let failures = 0; !signal.aborted; ) {
      await waiting.bell.wait(LOOK_MS_MAX);
      const items = waiting.take();
      if (items.length === 0 || signal.aborted) continue;
      try {
        await work(items);
        failures = 0;
      } catch (error) {
        for (const item of items) waiting.add(item);
        log.warn({ error: causeChain(error), items: items.length }, "a notice waits");
        await clock.sleep(RETRY.baseMs + fullJitter(RETRY, failures++, random), signal);
      }
    }
  }

  async #announce(items: readonly string[]): Promise<void> {
    const { database, replica } = this.#deps;
    for (const text of textsOf(replica, items)) await announce(database, text);
  }

  async #hear(signal: AbortSignal): Promise<void> {
    const { database, connection, clock, log, random } = this.#deps;
    for (let failures = 0; !signal.aborted; ) {
      const listener = {
        listening: () => {
          failures = 0;
          this.#toLookAt.add(ALL);
        },
        heard: (text: string) => this.#heard(text),
      };
      try {
        await listen(database, connection, listener, signal);
      } catch (error) {
        log.warn({ error: causeChain(error) }, "no notices of other hub processes; trying again");
        await clock.sleep(RETRY.baseMs + fullJitter(RETRY, failures++, random), signal);
      }
    }
  }

  #heard(text: string): void {
    const [from, ...items] = text.split("\n");
    if (from === this.#deps.replica) return;
    for (const item of items) {
      if (item === ALL || cellOf(item) !== undefined) this.#toLookAt.add(item);
    }
  }

  async #look(items: readonly string[]): Promise<void> {
    if (items.includes(ALL)) {
      for (const { vendorId, cellIds } of await this.#own()) {
        const own = cellIds.map((cellId) => ({ vendorId, cellId }));
        for (const kind of ["wishes", "orders"] as const) this.#ring(kind, own);
        await this.#lookAtAgents(vendorId, cellIds);
      }
      return;
    }
    const of = (kind: Kind) =>
      items.filter((item) => item.startsWith(kind)).flatMap((item) => cellOf(item) ?? []);
    // Who may stay is looked at first: nobody else is to be given anything.
    for (const [vendorId, all] of Map.groupBy(of("agents"), (cell) => cell.vendorId)) {
      await this.#lookAtAgents(
        vendorId,
        all.map(({ cellId }) => cellId),
      );
    }
    for (const kind of ["wishes", "orders"] as const) this.#ring(kind, of(kind));
  }

  /** Cells whose agents have a session here. */
  async #own() {
    const { database, replica } = this.#deps;
    const all = await readWithContext(database, hubContext("relay"), vendors.list);
    return Promise.all(
      all.map(async ({ id: vendorId }) => {
        const context = taskContext(vendorId, "relay");
        const cellIds = await readWithContext(database, context, (tx) =>
          sessions.cellsOfReplica(tx, replica),
        );
        return { vendorId, cellIds };
      }),
    );
  }

  async #lookAtAgents(vendorId: string, cellIds: readonly string[]): Promise<void> {
    const context = taskContext(vendorId, "relay");
    const [found, frozen] = await readWithContext(this.#deps.database, context, (tx) =>
      Promise.all([cells.list(tx, cellIds), agents.listFrozen(tx, cellIds)]),
    );
    const cellOfId = new Map(found.map((cell) => [cell.id, cell]));
    this.#whileHearing(() => {
      for (const cellId of cellIds) {
        const cell = cellOfId.get(cellId);
        const isGone = cell === undefined || cell.deletedAt !== null;
        this.#deps.outcasts.expel({
          ...{ vendorId, cellId, fault: isGone ? gone() : sessions.fenced() },
          ...(!isGone && { below: cell.fencing }),
        });
      }
      for (const { cellId, fencing } of frozen) {
        const fault = sessions.frozen(cellOfId.get(cellId)?.name ?? "");
        this.#deps.outcasts.expel({ vendorId, cellId, below: fencing + 1n, fault });
      }
    });
  }

  #ring(kind: "wishes" | "orders", all: readonly CellRef[]): void {
    const { cellBells, actionBells } = this.#deps;
    const bells = kind === "wishes" ? cellBells : actionBells;
    this.#whileHearing(() => {
      for (const cell of all) bells.ring(cell);
    });
  }

  #whileHearing(work: () => void): void {
    this.#isHearing = true;
    try {
      work();
    } finally {
      this.#isHearing = false;
    }
  }
}

/** Lines after the line of the process that says them, as many as fit. */
function* textsOf(replica: string, items: readonly string[]): Iterable<string> {
  let text = replica;
  for (const item of items) {
    if (text.length + 1 + item.length > NOTICE_BYTES_MAX) {
      yield text;
      text = replica;
    }
    text += `\n${item}`;
  }
  if (text !== replica) yield text;
}

function cellOf(item: string): CellRef | undefined {
  const [kind = "", vendorId = "", cellId = ""] = item.split(" ");
  return KINDS.includes(kind) && isUuid(vendorId) && isUuid(cellId)
    ? { vendorId, cellId }
    : undefined;
}

function gone(): Fault {
  return new Fault("UNAUTHENTICATED", "AGENT_GONE", "client certificate: its cell was removed");
}
