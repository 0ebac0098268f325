/** Tries all that can fail in a start before anything is changed, the loading of the image included. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { checkGiven } from "./given.ts";
import type { ContainerHost } from "./host.ts";
import { ensureImage } from "./image.ts";
import { resolveMounts } from "./mounts.ts";
import { refuseTakenPorts } from "./ports.ts";
import { portsOf, renderedSpecOf } from "./spec.ts";
import { refuseUnsuitable } from "./suitable.ts";

/**
 * Throws what the start would: INVALID_ARGUMENT `SPEC_INVALID`; FAILED_PRECONDITION `ENGINE_UNSUITABLE`, `LIMIT_UNSUPPORTED`,
 * `GPU_MISSING`, `SECRET_MISSING`, `MOUNT_MISSING`, `PORT_IN_USE`, `HEALTH_CHECK_MISSING`; PERMISSION_DENIED `MOUNT_NOT_ALLOWED`; and
 * what ensureImage does.
 */
export async function prepareStart(
  host: ContainerHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = renderedSpecOf(wanted.spec);
  resolveMounts(host, spec, context);
  checkGiven(host, wanted, spec);
  await refuseUnsuitable(host, spec, context.signal);
  await refuseTakenPorts(host, wanted.key, portsOf(spec), context);
  const image = await ensureImage(host, wanted, spec.image, context);
  const asksImage = spec.readiness?.image !== undefined || spec.liveness?.image !== undefined;
  if (!asksImage || image.hasHealthCheck) return;
  const message = "readiness.image, liveness.image: the image declares no health check";
  throw new Fault("FAILED_PRECONDITION", "HEALTH_CHECK_MISSING", message);
}
