/**
 * Hellos of agents that may not act although their certificate is good: fenced ones, and those whose identity two
 * processes have. All are refused, and the owner of the cell is told. Nothing here lets a frozen agent in again: that
 * is what a takeover is for.
 */
import type { Hello } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { isForked, type Lives, livesAfter } from "../../domain/lives.ts";
import * as agents from "../../store/agents.ts";
import * as sessions from "../../store/sessions.ts";
import type { Tx } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { recordAll } from "../event.ts";
import { agentChange } from "./agent-change.ts";

/** A fenced agent may come as often as it likes; its owner is told no more than once in this time. */
export const TOLD_AGAIN_MS = 3_600_000;
const LIFE_CHARS_MAX = 64;
const HUB = "hub/link";

/** Those of one transaction, in the order in which they said hello. */
export class Suspects {
  readonly #lives = new Map<string, Lives>();
  readonly #frozen = new Map<string, Readonly<{ agent: agents.AgentRow; cell: string }>>();
  readonly #fenced = new Map<string, agents.AgentRow>();

  /** The lives of an active agent from this hello on; undefined where it is frozen. */
  livesOf(agent: agents.AgentRow, cell: string, hello: Hello): Lives | undefined {
    if (agent.frozenAt !== null || this.isFrozen(agent.id)) return undefined;
    // A boot that is over never comes back either, and older agents say no more than that.
    const life = (hello.life || hello.bootId).slice(0, LIFE_CHARS_MAX);
    const lives = livesAfter(this.#lives.get(agent.id) ?? agent.lives, life);
    this.#lives.set(agent.id, lives);
    if (!isForked(lives)) return lives;
    this.#frozen.set(agent.id, { agent, cell });
    return undefined;
  }

  /** By one of these hellos. */
  isFrozen(agentId: string): boolean {
    return this.#frozen.has(agentId);
  }

  refused(agent: agents.AgentRow): void {
    this.#fenced.set(agent.id, agent);
  }

  /** After the sessions of the others are open: a frozen agent's last one ends with this. */
  async keep(deps: AppDeps, tx: Tx): Promise<void> {
    const now = deps.clock.now();
    const fenced = [...this.#fenced.values()].filter(
      ({ refusedAt }) => refusedAt === null || now - refusedAt.getTime() >= TOLD_AGAIN_MS,
    );
    for (const { agent } of this.#frozen.values()) {
      await agents.freeze(tx, agent.id, this.#lives.get(agent.id) ?? []);
      await sessions.revoke(tx, agent.id);
    }
    if (fenced.length > 0) {
      await agents.noteRefused(
        tx,
        fenced.map(({ id }) => id),
        new Date(now),
      );
    }
    const frozen = [...this.#frozen.values()];
    if (frozen.length + fenced.length === 0) return;
    await recordAll(tx, now, [
      ...frozen.map(({ agent }) =>
        agentChange(agent, "identity_frozen", { fencing: `${agent.fencing}` }, HUB),
      ),
      ...fenced.map((agent) =>
        agentChange(agent, "control_refused", { fencing: `${agent.fencing}` }, HUB),
      ),
    ]);
    const { vendorId } = tx.context;
    tx.afterCommit(() => {
      for (const { agent, cell } of frozen) {
        const below = agent.fencing + 1n;
        const fault = sessions.frozen(cell);
        deps.outcasts.expel({ vendorId, cellId: agent.cellId, below, fault });
      }
    });
  }
}
