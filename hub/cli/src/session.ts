/** What every command that talks to the hub begins with: the chosen context and a client that is closed again. */
import { type ContextFlags, chooseContext } from "./contexts.ts";
import type { HubClient } from "./hub-client.ts";
import type { OutputForm } from "./output.ts";
import type { Terminal } from "./terminal.ts";

/** Options that every command of the hub knows. */
export type HubOptions = ContextFlags & Readonly<{ output?: OutputForm | undefined }>;

/** Runs `work` with a client that is closed afterwards, whatever happens. */
export async function withHub<T>(
  terminal: Terminal,
  options: HubOptions,
  work: (hub: HubClient) => Promise<T>,
): Promise<T> {
  const context = await chooseContext(terminal, options);
  const { openHub } = await import("./hub-client.ts");
  const hub = await openHub(terminal, context);
  const stop = () => hub.close();
  terminal.signal.addEventListener("abort", stop, { once: true });
  try {
    return await work(hub);
  } finally {
    terminal.signal.removeEventListener("abort", stop);
    hub.close();
  }
}
