/** The last lines of a copy, as the engine has kept them: without the copy's secrets, escaped and bounded. */
import type { DriverContext } from "../driver.ts";
import { linesOf } from "../output.ts";
import type { Copy } from "./copies.ts";
import { isGone } from "./faults.ts";
import { contentOf } from "./frames.ts";
import { givenDirOf } from "./given.ts";
import type { ContainerHost } from "./host.ts";

const MESSAGE_LINES = 20;

/** Empty where the container is gone. */
export async function lastOutput(
  host: ContainerHost,
  copy: Pick<Copy, "id" | "key" | "handle">,
  context: DriverContext,
  lines = MESSAGE_LINES,
): Promise<readonly string[]> {
  try {
    const options = { follow: false, stdout: true, stderr: true, tail: lines } as const;
    const said = await host.dock.ask(copy.handle, context.signal, (docker) =>
      docker.getContainer(copy.id).logs(options),
    );
    const home = givenDirOf(host, copy.key, copy.handle, context);
    return linesOf(contentOf(said), home, false).slice(-lines);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}
