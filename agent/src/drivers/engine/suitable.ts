/**
 * Whether the engine of this host is one that the driver can work with, and which limits it keeps. Asked at the agent's
 * start, and again before each start of a container: an engine may come later than the agent, or be another one by then.
 */
import { existsSync } from "node:fs";
import { asFault, Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { ContainerHost } from "./host.ts";
import type { ContainerSpec } from "./spec.ts";

/** The first that has statistics without a wait, and GPU requests. */
const API_VERSION_MIN = [1, 41] as const;

type EngineInfo = Readonly<
  Partial<{
    CgroupDriver: string;
    OSType: string;
    MemoryLimit: boolean;
    CpuCfsQuota: boolean;
    PidsLimit: boolean;
    Runtimes: Record<string, unknown>;
  }>
>;

type Engine = Readonly<{ apiVersion: string; info: EngineInfo }>;

/** One that is only away for a moment is none that is missing: its faults say so when it is asked. */
export async function whyMissing(host: ContainerHost): Promise<string | undefined> {
  const { socket } = host;
  if (!existsSync(socket)) return `no socket at ${socket}; is a container engine installed?`;
  try {
    return whyUnsuitable(await engineOf(host, new AbortController().signal));
  } catch (error) {
    const fault = asFault(error, "the engine does not answer");
    return fault.reason === "ENGINE_UNREACHABLE" ? undefined : fault.message;
  }
}

/**
 * Throws FAILED_PRECONDITION `ENGINE_UNSUITABLE`; `LIMIT_UNSUPPORTED`, `GPU_MISSING` for what the engine would leave out
 * with no more than a warning.
 */
export async function refuseUnsuitable(
  host: ContainerHost,
  { limits, gpus }: ContainerSpec,
  signal: AbortSignal,
): Promise<void> {
  const engine = await engineOf(host, signal);
  const why = whyUnsuitable(engine);
  if (why !== undefined) throw new Fault("FAILED_PRECONDITION", "ENGINE_UNSUITABLE", why);
  const { info } = engine;
  const asked = [
    { field: "limits.memoryMib", isAsked: limits.memoryMib !== undefined, has: info.MemoryLimit },
    { field: "limits.cpuMillis", isAsked: limits.cpuMillis !== undefined, has: info.CpuCfsQuota },
    { field: "limits.pids", isAsked: limits.pids !== undefined, has: info.PidsLimit },
  ];
  const missing = asked.find(({ isAsked, has }) => isAsked && has === false);
  if (missing !== undefined) {
    const message = `${missing.field}: the container engine of this host cannot keep it`;
    const next = "give the engine the control groups for it (delegation), or leave the limit out";
    throw new Fault("FAILED_PRECONDITION", "LIMIT_UNSUPPORTED", message, { next });
  }
  if (gpus?.driver !== "nvidia" || Object.hasOwn(info.Runtimes ?? {}, "nvidia")) return;
  const message = "gpus: the container engine of this host knows no runtime nvidia";
  const next = "install the NVIDIA container toolkit, or publish a release without gpus";
  throw new Fault("FAILED_PRECONDITION", "GPU_MISSING", message, { next });
}

async function engineOf({ dock }: ContainerHost, signal: AbortSignal): Promise<Engine> {
  const { ApiVersion } = await dock.ask("version", signal, (docker) => docker.version());
  const info = await dock.ask("info", signal, (docker) => docker.info());
  return { apiVersion: ApiVersion, info: info as EngineInfo };
}

function whyUnsuitable({ apiVersion, info }: Engine): string | undefined {
  if (isOlder(apiVersion)) {
    return `the engine's API is ${shown(apiVersion)}; at least ${API_VERSION_MIN.join(".")} is needed`;
  }
  if (info.OSType !== "linux") return `the engine runs containers of ${shown(info.OSType)}`;
  return info.CgroupDriver === "none" ? "the engine has no control groups here" : undefined;
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [wantedMajor, wantedMinor] = API_VERSION_MIN;
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
