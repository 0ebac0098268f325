/**
 * A probe by a program of the image, run by the engine in the container with its user and limits, and no shell. Status
 * 0 says yes. Its time and its output are bounded; what does not end in time is ended, since the engine would not.
 */
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import { type Answer, withDeadline } from "../ask.ts";
import type { DriverContext } from "../driver.ts";
import type { Copy } from "../engine/copies.ts";
import { framesIn } from "../engine/frames.ts";
import type { ContainerHost } from "../engine/host.ts";

/** Of what it says the end is kept. */
const OUTPUT_BYTES_MAX = 4_096;

type Order = Readonly<{ argv: readonly string[]; timeoutMs: number }>;

export async function probeByProgram(
  host: ContainerHost,
  { argv, timeoutMs }: Order,
  copy: Copy,
  shown: (said: string) => string,
  context: DriverContext,
): Promise<Answer> {
  const { clock, signal } = context;
  const what = `exec ${escapeControls(argv.slice(0, 2).join(" "))}`;
  try {
    const run = (stop: AbortSignal) => runIn(host, argv, copy, stop);
    const { status, said } = await withDeadline(run, timeoutMs, clock, signal);
    const line = shown(said.split("\n").findLast((each) => each.trim() !== "") ?? "");
    const message = `${what}: status ${status}${line === "" ? "" : `: ${line}`}`;
    return { ok: status === 0, message };
  } catch (error) {
    if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
    return { ok: false, message: `${what}: ${causeChain(error)}` };
  }
}

async function runIn(
  { dock, endProcess }: ContainerHost,
  argv: readonly string[],
  { id, handle }: Copy,
  stop: AbortSignal,
): Promise<Readonly<{ status: number; said: string }>> {
  const options = { Cmd: [...argv], AttachStdout: true, AttachStderr: true };
  const exec = await dock.ask(handle, stop, (docker) => docker.getContainer(id).exec(options));
  const stream = await dock.ask(
    handle,
    stop,
    () => exec.start({ Tty: false, Detach: false }),
    "follow",
  );
  const leave = () => {
    // The engine lets it run on: its own number on this host ends it.
    void exec
      .inspect()
      .then(({ Running, Pid }) => Running && endProcess(Pid))
      .catch(() => undefined);
    stream.destroy(stop.reason as Error);
  };
  if (stop.aborted) leave();
  stop.addEventListener("abort", leave, { once: true });
  let said = Buffer.alloc(0);
  let pending = Buffer.alloc(0);
  try {
    for await (const part of stream as AsyncIterable<Buffer>) {
      const { frames, rest } = framesIn(Buffer.concat([pending, part]));
      pending = Buffer.from(rest.subarray(0, OUTPUT_BYTES_MAX));
      said = Buffer.concat([said, ...frames]).subarray(-OUTPUT_BYTES_MAX);
    }
  } finally {
    stop.removeEventListener("abort", leave);
  }
  const { ExitCode } = await dock.ask(handle, stop, () => exec.inspect());
  return { status: ExitCode ?? -1, said: said.toString("utf8") };
}
