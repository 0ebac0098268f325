/**
 * Which agent may act on the workloads below a directory: one file for each agent that ever claimed it, named by its
 * fencing number, and the highest number has it. Claims are only ever added, so two agents that claim at once cannot
 * undo each other, and one that was suspended finds out when it looks again.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";

export type Claim = Readonly<{ cellId: string; agentId: string; fencing: bigint }>;

const FOLDER = "claims";
/** Wide enough for 64 bits, so that names sort as numbers do. */
const DIGITS = 20;
const NAME = /^\d{20}\.json$/;

/** The highest one; undefined for a directory that nobody has claimed. */
export function findClaim(workplace: string): Claim | undefined {
  const names = claimNames(workplace);
  const newest = names.at(-1);
  if (newest === undefined) return undefined;
  const { cellId = "", agentId = "" } = readFields(join(workplace, FOLDER, newest));
  return { cellId, agentId, fencing: BigInt(newest.slice(0, DIGITS)) };
}

/** Whether an agent with a higher number has claimed it. One look into one folder: asked before each step. */
export function isOutbid(workplace: string, fencing: bigint): boolean {
  const newest = claimNames(workplace).at(-1);
  return newest !== undefined && BigInt(newest.slice(0, DIGITS)) > fencing;
}

/** Safe to repeat. Throws FAILED_PRECONDITION `CELL_OTHER` for a directory of another cell. */
export function claim(workplace: string, { cellId, agentId, fencing }: Claim): void {
  const held = findClaim(workplace);
  if (held !== undefined && held.cellId !== cellId) throw ofAnother(workplace, held.cellId);
  const folder = join(workplace, FOLDER);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const name = `${String(fencing).padStart(DIGITS, "0")}.json`;
  writeFileSync(join(folder, name), JSON.stringify({ cellId, agentId }), { mode: 0o600 });
}

export function ofAnother(workplace: string, cellId: string): Fault {
  const message = `${workplace}: the workloads there are of cell ${cellId}`;
  return new Fault("FAILED_PRECONDITION", "CELL_OTHER", message, {
    next: "holdfast-agent enroll --state NEW_DIR",
  });
}

function claimNames(workplace: string): readonly string[] {
  try {
    return readdirSync(join(workplace, FOLDER))
      .filter((name) => NAME.test(name))
      .sort();
  } catch (error) {
    // Unreadable is not unclaimed.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function readFields(path: string): Partial<Record<"cellId" | "agentId", string>> {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Record<string, string>;
  } catch {
    return {};
  }
}
