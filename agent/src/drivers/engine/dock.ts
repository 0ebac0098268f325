/**
 * The way to the container engine: its API over a Unix socket of this host, and nowhere else. The library is loaded
 * with the first question, so that an agent without containers does not pay for it. What the engine answers becomes
 * a fault; what depends on its words, which differ between Docker and Podman, is decided in faults.ts.
 */
import { Agent } from "node:http";
import { Fault } from "@holdfast/shared/fault.ts";
import type Docker from "dockerode";
import { engineFault } from "./faults.ts";

export type { Docker };

/** Without a byte from the engine: a question, and a stream such as the loading of an image. */
const SILENT_MS_MAX = 60_000;
const STREAM_SILENT_MS_MAX = 600_000;

type Kind = "question" | "stream" | "follow";

export class Dock {
  readonly #socket: string;
  readonly #clients = new Map<Kind, Promise<Docker>>();

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** `what` names the subject in faults. Rejects with a Fault, CANCELLED once `signal` is aborted. */
  async ask<Answer>(
    what: string,
    signal: AbortSignal,
    question: (docker: Docker) => Promise<Answer>,
    kind: Kind = "question",
  ): Promise<Answer> {
    const given = aborted(signal);
    try {
      return await Promise.race([this.#client(kind).then(question), given.up]);
    } catch (error) {
      throw engineFault(what, error, this.#socket);
    } finally {
      given.forget();
    }
  }

  #client(kind: Kind): Promise<Docker> {
    const known = this.#clients.get(kind);
    if (known !== undefined) return known;
    const client = import("dockerode").then(
      ({ default: Library }) => new Library(this.#options(kind)),
    );
    this.#clients.set(kind, client);
    return client;
  }

  /** Every setting that the library would take from the environment of the agent is given here. */
  #options(kind: Kind): Docker.DockerOptions {
    const timeouts = { question: SILENT_MS_MAX, stream: STREAM_SILENT_MS_MAX, follow: 0 };
    return {
      ...({ host: undefined, port: undefined } as object),
      socketPath: this.#socket,
      protocol: "http",
      timeout: timeouts[kind],
      // A connection that outlives the engine would fail the first question to the next one.
      agent: new Agent({ keepAlive: false }),
    } as Docker.DockerOptions;
  }
}

function aborted(signal: AbortSignal) {
  let leave = () => {};
  const up = new Promise<never>((_, reject) => {
    leave = () => reject(new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping"));
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });
  // Nobody may be left to hear of it.
  up.catch(() => undefined);
  return { up, forget: () => signal.removeEventListener("abort", leave) };
}
