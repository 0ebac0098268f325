/** Tries all that can fail in a start before anything is changed, the loading of the image included. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { checkGiven } from "./given.ts";
import type { ContainerHost } from "./host.ts";
import { ensureImage } from "./image.ts";
import { resolveMounts } from "./mounts.ts";
import { refuseTakenPorts } from "./ports.ts";
import { type ContainerSpec, portsOf, renderedSpecOf } from "./spec.ts";

/**
 * Throws what the start would: INVALID_ARGUMENT `SPEC_INVALID`; FAILED_PRECONDITION `LIMIT_UNSUPPORTED`, `GPU_MISSING`,
 * `SECRET_MISSING`, `MOUNT_MISSING`, `PORT_IN_USE`, `HEALTH_CHECK_MISSING`; PERMISSION_DENIED `MOUNT_NOT_ALLOWED`; and
 * what ensureImage does.
 */
export async function prepareStart(
  host: ContainerHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = renderedSpecOf(wanted.spec);
  resolveMounts(host, spec.mounts, context);
  checkGiven(host, wanted, spec);
  await refuseUnsupported(host, spec, context);
  await refuseTakenPorts(host, wanted.key, portsOf(spec), context);
  const image = await ensureImage(host, wanted, spec.image, context);
  const asksImage = spec.readiness?.image !== undefined || spec.liveness?.image !== undefined;
  if (!asksImage || image.hasHealthCheck) return;
  const message = "readiness.image, liveness.image: the image declares no health check";
  throw new Fault("FAILED_PRECONDITION", "HEALTH_CHECK_MISSING", message);
}

/** What the engine would leave out with no more than a warning. */
async function refuseUnsupported(
  { dock }: ContainerHost,
  { limits, gpus }: ContainerSpec,
  { signal }: DriverContext,
): Promise<void> {
  const info = (await dock.ask("info", signal, (docker) => docker.info())) as Partial<{
    MemoryLimit: boolean;
    CpuCfsQuota: boolean;
    PidsLimit: boolean;
    Runtimes: Record<string, unknown>;
  }>;
  const asked = [
    { field: "limits.memoryMib", isAsked: limits.memoryMib !== undefined, has: info.MemoryLimit },
    { field: "limits.cpuMillis", isAsked: limits.cpuMillis !== undefined, has: info.CpuCfsQuota },
    { field: "limits.pids", isAsked: limits.pids !== undefined, has: info.PidsLimit },
  ];
  const missing = asked.find(({ isAsked, has }) => isAsked && has === false);
  if (missing !== undefined) {
    const message = `${missing.field}: the container engine of this host cannot keep it`;
    throw new Fault("FAILED_PRECONDITION", "LIMIT_UNSUPPORTED", message);
  }
  if (gpus?.driver !== "nvidia" || Object.hasOwn(info.Runtimes ?? {}, "nvidia")) return;
  const message = "gpus: the container engine of this host knows no runtime nvidia";
  const next = "install the NVIDIA container toolkit, or publish a release without gpus";
  throw new Fault("FAILED_PRECONDITION", "GPU_MISSING", message, { next });
}
