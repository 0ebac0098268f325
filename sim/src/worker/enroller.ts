/**
 * Joins many agents over one connection: the server is checked once for each root that tokens name, as a real agent
 * checks it, and then trusted by exactly that root.
 */
import { type Enrolled, enrollOver, pinnedRoot } from "@holdfast/agent/src/enroll.ts";
import { type HubClient, hubClient } from "@holdfast/agent/src/link/hub-client.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { parseJoinToken } from "@holdfast/shared/join-token.ts";

export class Enroller {
  readonly #version: string;
  readonly #clients = new Map<string, Promise<HubClient>>();

  constructor(version: string) {
    this.#version = version;
  }

  /** Throws the hub's fault. A connection that failed is not used again. */
  async enroll(joinToken: string, hostName: string, signal: AbortSignal): Promise<Enrolled> {
    const token = parseJoinToken(joinToken);
    const [endpoint = ""] = token.identityEndpoints;
    const name = `${endpoint} ${token.rootFingerprint}`;
    const opened = this.#clients.get(name) ?? openTo(endpoint, token);
    this.#clients.set(name, opened);
    try {
      const options = { token: joinToken, hostName, agentVersion: this.#version, signal };
      return await enrollOver(await opened, token, options);
    } catch (error) {
      const isLost = !(error instanceof Fault) || error.retryable;
      if (isLost && this.#clients.get(name) === opened) this.#drop(name);
      throw error;
    }
  }

  close(): void {
    for (const name of this.#clients.keys()) this.#drop(name);
  }

  #drop(name: string): void {
    const opened = this.#clients.get(name);
    this.#clients.delete(name);
    void opened?.then((client) => client.close()).catch(() => undefined);
  }
}

async function openTo(endpoint: string, token: ReturnType<typeof parseJoinToken>) {
  return hubClient(endpoint, { roots: [await pinnedRoot(endpoint, token)] });
}
