/**
 * What drivers of containers take from their surroundings: the engine's socket, what the customer's configuration allows,
 * and the agent's own place on the host. Handed in, since tests have an engine in a network of its own.
 */
import type { AgentConfig } from "../../config.ts";
import type { Dial } from "../ask.ts";
import { AskedCopies } from "../asked.ts";
import type { CopyKind } from "../handles.ts";
import { Dock } from "./dock.ts";
import { Followers } from "./followers.ts";
import { ReadSpecs } from "./spec.ts";
import { Turns } from "./turns.ts";

export type ContainerGround = Readonly<{
  /** To a port of a container, by its own address. */
  dial: Dial;
  /** ms since the host was switched on. */
  uptimeMs(): number;
  /** Whether the process has a handler of its own for this signal. */
  handlesSignal(pid: number, signal: number): boolean;
  /** SIGKILL to a process of a container, by its number on this host. */
  endProcess(pid: number): void;
  /** Who of this host has a fixed port, in words; undefined if it can be had. */
  portProblem(name: string, port: number): Promise<string | undefined>;
  /** Free ports of the host are chosen below this one. */
  ephemeralPortMin(): number;
  /** A file system in memory, for secrets: /dev/shm. */
  memoryDir: string;
  /** The agent's own account. */
  uid: number;
}>;

export type ContainerHost = ContainerGround &
  Readonly<{
    /** Whose containers it has to do with. */
    kind: CopyKind;
    dock: Dock;
    /** Folders of the host below which a release may mount. */
    mountRoots: readonly string[];
    /** Registries, or repositories of them, from which images may come. */
    registries: readonly string[];
    imageBytesMax: number;
    socket: string;
    /** Copies whose output is followed. */
    followers: Followers;
    /** How long ago each copy was probed. */
    asked: AskedCopies;
    specs: ReadSpecs;
    /** By instance. */
    turns: Turns;
  }>;

export const LOOPBACK = "127.0.0.1";

const BYTES_PER_MIB = 1_048_576;

export function containerHost(
  ground: ContainerGround,
  socket: string,
  config: Pick<AgentConfig, "containerMounts" | "containerRegistries" | "containerImageMibMax">,
): ContainerHost {
  return {
    ...ground,
    kind: "container",
    ...{ socket, dock: new Dock(socket) },
    mountRoots: config.containerMounts,
    registries: config.containerRegistries,
    imageBytesMax: config.containerImageMibMax * BYTES_PER_MIB,
    ...{ followers: new Followers(), asked: new AskedCopies(), specs: new ReadSpecs() },
    turns: new Turns(),
  };
}

/** The same engine for another kind, which follows its own containers and takes turns with the others. */
export function hostFor(kind: CopyKind, host: ContainerHost): ContainerHost {
  return { ...host, kind, followers: new Followers() };
}
