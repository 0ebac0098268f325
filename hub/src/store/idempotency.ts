/** Table idempotency: the answer that a request id got, so that the request is done once. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

export type Request = Readonly<{
  /** The caller's owner: nil for members of the vendor. */
  tenantId: string;
  caller: string;
  requestId: string;
  method: string;
  /** SHA-256 of the request's bytes. */
  hash: Uint8Array;
}>;

/** How long a request id is remembered. */
export const IDEMPOTENCY_LIFE_MS = 24 * 3_600_000;

/**
 * The answer that this request got before. Throws ALREADY_EXISTS `REQUEST_ID_REUSED` when the id came with
 * another content. Two at once: the slower one waits here and then finds the answer of the faster.
 */
export async function recall(tx: Tx, request: Request): Promise<Uint8Array | undefined> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [
    `${tx.context.vendorId}/${request.caller}/${request.requestId}`,
  ]);
  const rows = await tx.query<{ method: string; request_hash: Uint8Array; answer: Uint8Array }>(
    `select method, request_hash, answer from idempotency
      where tenant_id = $1 and caller = $2 and request_id = $3`,
    [request.tenantId, request.caller, request.requestId],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  if (row.method !== request.method || !Buffer.from(row.request_hash).equals(request.hash)) {
    throw new Fault(
      "ALREADY_EXISTS",
      "REQUEST_ID_REUSED",
      "request_id: this id was used before with different content; give each request an id of its own",
    );
  }
  return row.answer;
}

/** In the same transaction as what was done. */
export async function remember(tx: Tx, request: Request, answer: Uint8Array): Promise<void> {
  await tx.query(
    `insert into idempotency (tenant_id, caller, request_id, method, request_hash, answer)
     values ($1, $2, $3, $4, $5, $6)`,
    [request.tenantId, request.caller, request.requestId, request.method, request.hash, answer],
  );
}

/** Forgets what is older than IDEMPOTENCY_LIFE_MS; returns how many, at most `limit`. */
export async function prune(tx: Tx, limit: number): Promise<number> {
  const rows = await tx.query(
    `delete from idempotency where (tenant_id, caller, request_id) in (
       select tenant_id, caller, request_id from idempotency
        where created_at < now() - make_interval(secs => $1 / 1000.0) limit $2) returning 1`,
    [IDEMPOTENCY_LIFE_MS, limit],
  );
  return rows.length;
}
