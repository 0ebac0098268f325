/** What a command sees of the world: its streams, its environment, its clock. Only main.ts has the real one. */
import type { Clock, Random } from "@holdfast/shared/clock.ts";

export type Terminal = Readonly<{
  /** Data, and nothing else. */
  out(text: string): void;
  /** Progress, questions, errors. */
  err(text: string): void;
  /** All of standard input; throws INVALID_ARGUMENT `STDIN_TOO_LARGE` beyond the bound. */
  readStdin(bytesMax: number): Promise<string>;
  /** One line from a person. Only where `isInteractive`. */
  ask(question: string): Promise<string>;
  env: Readonly<Record<string, string | undefined>>;
  workingDirectory: string;
  homeDirectory: string;
  /** A person sits at standard input and error. */
  isInteractive: boolean;
  /** Whether standard output shows colours. */
  hasColor: boolean;
  /** Characters in a line of standard output; undefined where it is no terminal. */
  columns: number | undefined;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  clock: Clock;
  random: Random;
  randomUuid(): string;
}>;
