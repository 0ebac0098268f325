/**
 * Where a cell's workloads live on this host: the directory that their marks name, with their data and artefacts. It
 * is the state directory of the first agent of the cell here, and stays the same when another takes over.
 */
import { findClaim, ofAnother } from "../store/claims.ts";
import type { Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";

export function workplaceOf(store: Store, stateDir: string): string {
  return facts.findWorkplace(store) ?? stateDir;
}

/**
 * For an agent that takes over: the directory named, or the one that marks of living processes name, or its own.
 * `marked` are all directories that processes of this host name. Throws FAILED_PRECONDITION `CELL_OTHER` for a named
 * one of another cell.
 */
export function chooseWorkplace(
  stateDir: string,
  cellId: string,
  found: Readonly<{ named: string | undefined; marked: readonly string[] }>,
): string {
  const { named, marked } = found;
  if (named !== undefined) {
    const claim = findClaim(named);
    if (claim?.cellId === cellId) return named;
    throw ofAnother(named, claim?.cellId ?? "none");
  }
  const claims = marked.flatMap((dir) => {
    const claim = findClaim(dir);
    return claim?.cellId === cellId ? [{ dir, fencing: claim.fencing }] : [];
  });
  claims.sort((a, b) => (a.fencing < b.fencing ? 1 : -1));
  return claims[0]?.dir ?? stateDir;
}
