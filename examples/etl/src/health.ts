/**
 * What is well and what is not. Ready means: settings, rates, source and destination were all there at least once
 * since the start. A later loss of source or destination is told in the detail, and the worker stays ready: it
 * waits and goes on by itself, and another copy of it would fare no better. A stand-by is ready.
 */
import type { WriteLog } from "./log.ts";

export const PARTS = ["settings", "seats", "source", "destination", "rows"] as const;
export type Part = (typeof PARTS)[number];
/** `waiting`: not ready yet. `active`: holds the lease. `standby`: another copy holds it. */
export type Role = "waiting" | "standby" | "active" | "stopping";

/** Parts that must have been well once before the worker is ready. */
const NEEDED: readonly Part[] = ["settings", "source", "destination"];
const PROBLEM_CHARS_MAX = 300;

export class Health {
  readonly #writeLog: WriteLog;
  readonly #problems = new Map<Part, string>();
  readonly #seen = new Set<Part>();
  readonly #errors = new Map<Part, number>(PARTS.map((part) => [part, 0]));
  #role: Role = "waiting";

  constructor(writeLog: WriteLog) {
    this.#writeLog = writeLog;
  }

  well(part: Part): void {
    this.#seen.add(part);
    if (this.#problems.delete(part)) this.#writeLog("info", `${part} is well again`, { part });
  }

  /** Logs a problem once, not each time that it is met again. */
  unwell(part: Part, error: unknown): void {
    const problem = problemOf(error);
    this.#errors.set(part, (this.#errors.get(part) ?? 0) + 1);
    if (this.#problems.get(part) === problem) return;
    this.#problems.set(part, problem);
    this.#writeLog("warn", `${part}: ${problem}`, { part });
  }

  become(role: Role, fields: Readonly<Record<string, unknown>> = {}): void {
    if (this.#role === role) return;
    this.#role = role;
    this.#writeLog("info", `now ${role}`, { role, ...fields });
  }

  get role(): Role {
    return this.#role;
  }

  get ready(): boolean {
    return this.#role !== "stopping" && NEEDED.every((part) => this.#seen.has(part));
  }

  /** Of each part its problem, "ok", or "not seen yet". */
  detail(): Readonly<Record<string, string>> {
    const fallback = (part: Part) =>
      this.#seen.has(part) || part === "rows" ? "ok" : "not seen yet";
    return Object.fromEntries(
      PARTS.map((part) => [part, this.#problems.get(part) ?? fallback(part)]),
    );
  }

  /** How often each part was found unwell since the start. */
  errors(): ReadonlyMap<Part, number> {
    return this.#errors;
  }
}

function problemOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.slice(0, PROBLEM_CHARS_MAX);
}
