/**
 * What steps said, of all instances of this agent: where it is kept, for which attempts, and who looks at it now. Writing
 * never fails a step: what the disk does not take is counted as lost.
 */
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { instanceFolder } from "../local/directories.ts";
import { type NewLine, OutputRing } from "./ring.ts";

const FOLDER = "step-output";

/** Id of what was asked for by an action, a restart or a run of a job: there is one of it, the newest. */
export const ORDERED = 0;

export type OutputKey = Readonly<{ instanceId: string; attempt: number }>;

/** Beside an instance's run/, logs/ and data/. */
export function outputFolder(runDir: string): string {
  return join(dirname(runDir), FOLDER);
}

export type OutputsContext = Readonly<{ log?: Log; stateDir: string }>;

export class StepOutputs {
  readonly #context: OutputsContext;
  /** Of attempts that may still say something. */
  readonly #open = new Map<string, OutputRing>();
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(context: OutputsContext) {
    this.#context = context;
  }

  /** From now on until `close` it may say something. What of the instance is not among `kept` goes. */
  open(key: OutputKey, kept: readonly number[]): OutputRing {
    const folder = this.#folderOf(key.instanceId);
    const isKept = new Set(kept.map(String));
    for (const name of foldersIn(folder)) {
      if (!isKept.has(name)) rmSync(join(folder, name), { recursive: true, force: true });
    }
    const ring = new OutputRing(join(folder, String(key.attempt)));
    this.#open.set(nameOf(key), ring);
    return ring;
  }

  close(key: OutputKey): void {
    this.#open.delete(nameOf(key));
    this.#ring(key);
  }

  isOpen(key: OutputKey): boolean {
    return this.#open.has(nameOf(key));
  }

  write(key: OutputKey, step: string, lines: readonly NewLine[]): void {
    const { log } = this.#context;
    try {
      this.#open.get(nameOf(key))?.append(step, lines);
    } catch (error) {
      log?.debug(
        { instance: key.instanceId, step, error: causeChain(error) },
        "output is not kept",
      );
    }
    this.#ring(key);
  }

  read(key: OutputKey): OutputRing {
    const open = this.#open.get(nameOf(key));
    return open ?? new OutputRing(join(this.#folderOf(key.instanceId), String(key.attempt)));
  }

  /** Rings when it said something, and when it is closed. Returns how to stop listening. */
  listen(key: OutputKey, ring: () => void): () => void {
    const name = nameOf(key);
    const there = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, there.add(ring));
    return () => {
      there.delete(ring);
      if (there.size === 0) this.#listeners.delete(name);
    };
  }

  #ring(key: OutputKey): void {
    for (const ring of this.#listeners.get(nameOf(key)) ?? []) ring();
  }

  #folderOf(instanceId: string): string {
    // Asking for a removed instance's directories would make them again.
    return join(instanceFolder(this.#context.stateDir, instanceId), FOLDER);
  }
}

function nameOf({ instanceId, attempt }: OutputKey): string {
  return `${instanceId}/${attempt}`;
}

function foldersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
