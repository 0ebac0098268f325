/**
 * The control sessions of this process: one for each agent, found by cell when its desired state changes.
 * A change that concerns many is worked off in turns, so that thousands of writes never hold up the rest.
 */
import { setImmediate as turn } from "node:timers/promises";
import { Fault } from "@holdfast/shared/fault.ts";
import type { ControlSession } from "./control-session.ts";
import { FAN_OUT_TURN_STREAMS, RECONNECTS_PER_SECOND, SPREAD_MS_MIN } from "./limits.ts";
import type { Expelled, StoredFrame } from "./port.ts";

type Cell = Readonly<{ vendorId: string; cellId: string }>;

export class Sessions {
  readonly #byAgent = new Map<string, ControlSession>();
  readonly #byCell = new Map<string, Set<ControlSession>>();
  /** Sessions that are to look again; a set, so that rings coalesce. */
  readonly #due = new Set<ControlSession>();
  #running = false;

  get count(): number {
    return this.#byAgent.size;
  }

  /** Full jitter over this lets a fleet of the present size come back at a bearable rate. */
  get spreadMs(): number {
    return Math.max(SPREAD_MS_MIN, Math.ceil((this.count / RECONNECTS_PER_SECOND) * 1000));
  }

  of(agentId: string): ControlSession | undefined {
    return this.#byAgent.get(agentId);
  }

  /** The newer of two sessions of one agent stays, by fencing number; the other ends with ABORTED `SESSION_REPLACED`. */
  add(session: ControlSession): void {
    const { agentId } = session.agent;
    const present = this.#byAgent.get(agentId);
    if (present !== undefined && present.agent.session > session.agent.session) throw replaced();
    if (present !== undefined) {
      this.remove(present);
      present.end(replaced());
    }
    this.#byAgent.set(agentId, session);
    const key = keyOf(session.agent);
    const inCell = this.#byCell.get(key) ?? new Set();
    this.#byCell.set(key, inCell.add(session));
  }

  remove(session: ControlSession): void {
    const { agentId } = session.agent;
    if (this.#byAgent.get(agentId) === session) this.#byAgent.delete(agentId);
    const key = keyOf(session.agent);
    const inCell = this.#byCell.get(key);
    inCell?.delete(session);
    if (inCell?.size === 0) this.#byCell.delete(key);
    this.#due.delete(session);
  }

  /** The session of the cell's active agent, if it is connected here. */
  activeIn(cell: Cell): ControlSession | undefined {
    return [...(this.#byCell.get(keyOf(cell)) ?? [])].find(({ agent }) => agent.active);
  }

  ring(cell: Cell, fresh?: StoredFrame): void {
    for (const session of this.#byCell.get(keyOf(cell)) ?? []) {
      session.rung(fresh);
      this.#due.add(session);
    }
    if (!this.#running) void this.#work();
  }

  /** Ends the control streams of agents that are no longer welcome. */
  expel({ below, fault, ...cell }: Expelled): void {
    for (const session of [...(this.#byCell.get(keyOf(cell)) ?? [])]) {
      if (below === undefined || session.agent.fencing < below) session.end(fault);
    }
  }

  /** Runs `work` for all that are connected now, in turns. */
  async each(work: (session: ControlSession) => void): Promise<void> {
    let done = 0;
    for (const session of [...this.#byAgent.values()]) {
      work(session);
      if (++done % FAN_OUT_TURN_STREAMS === 0) await turn();
    }
  }

  async #work(): Promise<void> {
    this.#running = true;
    while (this.#due.size > 0) {
      let done = 0;
      for (const session of this.#due) {
        this.#due.delete(session);
        session.refresh();
        if (++done === FAN_OUT_TURN_STREAMS) break;
      }
      await turn();
    }
    this.#running = false;
  }
}

function keyOf({ vendorId, cellId }: Cell): string {
  return `${vendorId}/${cellId}`;
}

function replaced(): Fault {
  return new Fault("ABORTED", "SESSION_REPLACED", "a newer session of this agent took its place");
}
