/** Tries all that can fail in a start before anything is changed, the loading of the image included. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import type { ContainerHost } from "../engine/host.ts";
import { prepareMaking } from "../engine/make.ts";
import { portsOf, renderedSpecOf } from "../engine/spec.ts";
import { refuseTakenPorts } from "./ports.ts";

/**
 * Throws what the start would: INVALID_ARGUMENT `SPEC_INVALID`; FAILED_PRECONDITION `PORT_IN_USE`, `HEALTH_CHECK_MISSING`;
 * and what prepareMaking does.
 */
export async function prepareStart(
  host: ContainerHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = renderedSpecOf(wanted.spec);
  await refuseTakenPorts(host, wanted.key, portsOf(spec), context);
  const image = await prepareMaking(host, wanted, spec, context);
  const asksImage = spec.readiness?.image !== undefined || spec.liveness?.image !== undefined;
  if (!asksImage || image.hasHealthCheck) return;
  const message = "readiness.image, liveness.image: the image declares no health check";
  throw new Fault("FAILED_PRECONDITION", "HEALTH_CHECK_MISSING", message);
}
