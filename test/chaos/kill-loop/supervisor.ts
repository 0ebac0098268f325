/** What init does on a real machine: starts hub and agents again, a while after they ended. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { running } from "../../../scripts/fleet/processes.ts";
import { SAMPLE_WINDOW_MS, type World } from "./world.ts";

const LOOK_MS = 100;

export type Kept = "hub" | "agent-hosted" | "agent-byoa";

export class Supervisor {
  readonly #world: World;
  readonly #say: (line: string) => void;
  readonly #stop = new AbortController();
  readonly #notBefore = new Map<Kept, number>();
  readonly #loops: readonly Promise<void>[];

  constructor(world: World, say: (line: string) => void) {
    this.#world = world;
    this.#say = say;
    this.#loops = (["hub", "agent-hosted", "agent-byoa"] as const).map((name) => this.#keep(name));
  }

  /** Leave it down for a while once it has ended. */
  delay(name: Kept, ms: number): void {
    this.#notBefore.set(name, systemClock.monotonic() + ms);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #keep(name: Kept): Promise<void> {
    const { signal } = this.#stop;
    const { processes } = this.#world.fleet.layout;
    while (!signal.aborted) {
      const isDue = (this.#notBefore.get(name) ?? 0) <= systemClock.monotonic();
      if (isDue && running(processes, name) === undefined) {
        // What is killed while it starts is started once more.
        await this.#start(name).catch((error: unknown) => {
          this.#say(`${name} did not start: ${String(error).split("\n")[0]}`);
        });
      }
      await systemClock.sleep(LOOK_MS, signal);
    }
  }

  async #start(name: Kept): Promise<void> {
    const { fleet } = this.#world;
    this.#say(`start ${name}`);
    if (name === "hub") {
      await fleet.startHub();
      return;
    }
    const settings = { sample_window_ms: SAMPLE_WINDOW_MS };
    await fleet.startAgent(name.slice("agent-".length), settings, () => {
      throw new Error("the agent has joined before");
    });
  }
}
