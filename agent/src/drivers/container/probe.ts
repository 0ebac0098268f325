/**
 * One probe of a copy: by HTTP or TCP at the container's own address, since what the host publishes accepts also where
 * nobody listens; by a program of its image; or what the image's own health check says. Never throws for what the
 * workload does.
 */
import type { ProbeTarget } from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { cut, escapeControls } from "@holdfast/shared/text.ts";
import { type Answer, answerOf, askPort, withDeadline } from "../ask.ts";
import type { DriverContext } from "../driver.ts";
import type { Copy } from "../engine/copies.ts";
import type { Docker } from "../engine/dock.ts";
import { givenDirOf } from "../engine/given.ts";
import type { ContainerHost } from "../engine/host.ts";
import { instanceName } from "../engine/marks.ts";
import type { ContainerSpec } from "../engine/spec.ts";
import { redactor } from "../output.ts";
import { probeByProgram } from "./exec-probe.ts";

const SAID_CHARS_MAX = 200;

export type Probed = Readonly<{
  copy: Copy;
  /** As the engine has just told it. */
  inspected: Docker.ContainerInspectInfo;
  spec: ContainerSpec;
}>;

export async function probe(
  host: ContainerHost,
  target: ProbeTarget & Readonly<{ timeoutMs: number }>,
  probed: Probed,
  context: DriverContext,
): Promise<Answer> {
  const { copy, inspected } = probed;
  const redact = redactor(givenDirOf(host, copy.key, copy.handle, context));
  const shown = (said: string) => cut(redact(said.trim()), SAID_CHARS_MAX);
  if (target.image !== undefined) return byImage(inspected, shown);
  if (target.exec !== undefined) {
    const order = { argv: target.exec.argv, timeoutMs: target.timeoutMs };
    return await probeByProgram(host, order, copy, shown, context);
  }
  return await byPort(host, target, probed, context);
}

async function byPort(
  host: ContainerHost,
  target: ProbeTarget & Readonly<{ timeoutMs: number }>,
  { copy, inspected, spec }: Probed,
  { clock, signal, stateDir }: DriverContext,
): Promise<Answer> {
  const port = spec.ports[target.http?.port ?? target.tcp?.port ?? ""]?.container;
  const network = instanceName(stateDir, copy.key.instanceId);
  const address = inspected.NetworkSettings.Networks[network]?.IPAddress ?? "";
  if (port === undefined || address === "") {
    return { ok: false, message: "it has no address in its instance's network" };
  }
  const path = target.http?.path;
  const place = `${address}:${port}`;
  const what = path === undefined ? `tcp ${place}` : `GET http://${place}${path}`;
  try {
    const ask = (stop: AbortSignal) => askPort(host.dial, { host: address, port }, path, stop);
    return answerOf(what, await withDeadline(ask, target.timeoutMs, clock, signal));
  } catch (error) {
    if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
    return { ok: false, message: `${what}: ${causeChain(error)}` };
  }
}

function byImage({ State }: Docker.ContainerInspectInfo, shown: (said: string) => string): Answer {
  const { Status, Log } = State.Health ?? { Status: "none", Log: [] };
  const said = shown(escapeControls(Log.at(-1)?.Output ?? ""));
  const message = `the image's health check: ${Status}${said === "" ? "" : `: ${said}`}`;
  return { ok: Status === "healthy", message };
}
