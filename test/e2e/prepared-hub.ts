/**
 * Puts a stopped database with the schema where a new fleet's hub looks for its own, which saves each suite the making
 * of one. That a hub makes its own is shown by the README's transcript and by the tests of the cluster.
 */
import { mkdir } from "node:fs/promises";
import { copyPrepared } from "../../hub/src/store/testing.ts";

/** Of a fleet's layout, or any other folder that a hub calls its own. */
export async function prepareHub({ hub }: Readonly<{ hub: { data: string } }>): Promise<void> {
  // Another server's, which the fleet's hub does not run.
  if (process.env["HOLDFAST_TEST_POSTGRES_BIN"] !== undefined) return;
  await mkdir(hub.data, { recursive: true, mode: 0o700 });
  await copyPrepared(hub.data);
}
