/**
 * Which agent secrets of a cell may be sealed to. A hub that was taken over can name an agent of its own, so the
 * CLI keeps the fingerprint of the identity key that it sealed to first, one file for each cell, and goes to
 * another one only when a person has compared fingerprints on the agent's host.
 */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";
import { userContextsPath } from "./contexts.ts";
import type { Terminal } from "./terminal.ts";

/** As the hub says, with the key that has signed for what is sealed to. */
export type OfferedAgent = Readonly<{
  /** Its id names the file. */
  cellId: string;
  cell: string;
  agent: string;
  fingerprint: string;
}>;

type KnownAgent = Readonly<{ cell: string; agent: string; fingerprint: string; since: string }>;

const CELL_ID = /^cel_[0-9a-f]{32}$/;
const FINGERPRINT = /^sha256:[0-9a-f]{64}$/;

/**
 * Returns once this agent may be trusted: `confirmed` is the fingerprint that a person has compared, if one was
 * given. Throws INVALID_ARGUMENT `FINGERPRINT_MALFORMED`; PERMISSION_DENIED `AGENT_NOT_CONFIRMED`, `AGENT_CHANGED`.
 */
export async function trustAgent(
  terminal: Terminal,
  offered: OfferedAgent,
  confirmed: string | undefined,
): Promise<void> {
  const path = pathOf(terminal, offered.cellId);
  if (confirmed !== undefined) {
    checkConfirmed(offered, confirmed);
    await keep(path, offered, terminal);
    return;
  }
  const known = await find(path);
  if (known === undefined) {
    await keep(path, offered, terminal);
    const { agent, cell, fingerprint } = offered;
    terminal.err(
      `agent ${shown(agent)} of cell ${shown(cell)} is new here and trusted from now on: ${fingerprint}\n` +
        "compare it with the line identity of `holdfast-agent status` on the agent's host\n",
    );
    return;
  }
  if (known.fingerprint === offered.fingerprint) return;
  throw changed(offered, known);
}

/** Cells have ids that nobody else has, so hubs and vendors need no names here. */
function pathOf(terminal: Terminal, cellId: string): string {
  if (!CELL_ID.test(cellId)) {
    throw new Fault("INTERNAL", "CELL_ID", `the hub gave the cell id ${shown(cellId)}`);
  }
  return join(dirname(userContextsPath(terminal)), "known-agents", `${cellId}.json`);
}

async function find(path: string): Promise<KnownAgent | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable("known agent", path, error);
  }
  try {
    const known = JSON.parse(text) as KnownAgent;
    if (FINGERPRINT.test(known.fingerprint)) return known;
  } catch {
    // Told below.
  }
  // Forgetting whom it knew would trust whoever comes next.
  throw new Fault(
    "FAILED_PRECONDITION",
    "KNOWN_AGENT_DAMAGED",
    `${path}: it holds no fingerprint`,
    {
      next: "holdfast secret set INSTANCE NAME --agent-fingerprint FINGERPRINT",
    },
  );
}

async function keep(path: string, offered: OfferedAgent, terminal: Terminal): Promise<void> {
  const { cell, agent, fingerprint } = offered;
  const since = new Date(terminal.clock.now()).toISOString();
  const known: KnownAgent = { cell, agent, fingerprint, since };
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${terminal.randomUuid()}`;
  await writeFile(draft, `${JSON.stringify(known, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
  await rename(draft, path);
}

function checkConfirmed({ agent, fingerprint }: OfferedAgent, confirmed: string): void {
  if (!FINGERPRINT.test(confirmed)) {
    throw new Fault(
      "INVALID_ARGUMENT",
      "FINGERPRINT_MALFORMED",
      `--agent-fingerprint: got ${shown(confirmed)}; allowed: sha256: and 64 lower-case hex digits`,
    );
  }
  if (confirmed === fingerprint) return;
  throw new Fault(
    "PERMISSION_DENIED",
    "AGENT_NOT_CONFIRMED",
    `the hub offers agent ${shown(agent)} with ${fingerprint}; --agent-fingerprint says ${confirmed}`,
    { next: "holdfast-agent status, on the agent's host" },
  );
}

function changed(offered: OfferedAgent, known: KnownAgent): Fault {
  const message =
    `cell ${shown(offered.cell)}: its agent is now ${shown(offered.agent)} with ${offered.fingerprint}; ` +
    `until now it was ${shown(known.agent)} with ${known.fingerprint}. After a takeover that is right; ` +
    "compare with `holdfast-agent status` on the new agent's host";
  return new Fault("PERMISSION_DENIED", "AGENT_CHANGED", message, {
    next: "holdfast secret set INSTANCE NAME --agent-fingerprint FINGERPRINT",
  });
}
