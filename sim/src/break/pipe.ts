/**
 * One way of one connection: pieces wait for their time in order, in a bounded buffer that stops reading when it is
 * full. While the line is stalled nothing passes, an end or a failure of the other side least of all.
 */
import type { Socket } from "node:net";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { latenessMs } from "./conditions.ts";
import type { Direction, Line } from "./line.ts";

/** Bytes that wait in one pipe; then it reads no more from its side. */
export const PIPE_BYTES_MAX = 256 * 1024;

/** Bytes, or how the side has ended. */
type Piece = Readonly<{ data: Buffer | "end" | "reset"; at: number }>;

export type PipeDeps = Readonly<{
  direction: Direction;
  line: Line;
  clock: Clock;
  random: Random;
  signal: AbortSignal;
}>;

export class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #deps: PipeDeps;
  readonly #pieces: Piece[] = [];
  #bytes = 0;
  #lastAt = 0;
  #arrived = Promise.withResolvers<void>();
  passed = 0;

  constructor(from: Socket, to: Socket, deps: PipeDeps) {
    this.#from = from;
    this.#to = to;
    this.#deps = deps;
    from.on("data", (data: Buffer) => this.#add(data));
    from.on("end", () => this.#add("end"));
    from.on("error", () => this.#add("reset"));
  }

  /** Until the signal. Never rejects. */
  async run(): Promise<void> {
    const { signal, line, clock } = this.#deps;
    const stopped = aborted(signal);
    while (!signal.aborted) {
      const piece = this.#pieces[0];
      if (piece === undefined) {
        await Promise.race([this.#arrived.promise, stopped]);
        continue;
      }
      if (line.isStalled) {
        await Promise.race([line.changed, stopped]);
        continue;
      }
      const waitMs = piece.at - clock.monotonic();
      if (waitMs > 0) {
        await clock.sleep(waitMs, signal);
        continue;
      }
      this.#pieces.shift();
      // After an end a reset may still follow, so this goes on until both sockets have closed.
      if (piece.data === "reset") this.#to.resetAndDestroy();
      else if (piece.data === "end") this.#to.end();
      else await this.#write(piece.data, stopped);
    }
  }

  #add(data: Piece["data"]): void {
    const { line, random, direction } = this.#deps;
    const bytes = typeof data === "string" ? 0 : data.length;
    const lateMs = latenessMs(line.conditions, [random(), random()]);
    this.#lastAt = Math.max(this.#lastAt, line.sentAt(direction, bytes) + lateMs);
    this.#pieces.push({ data, at: this.#lastAt });
    this.#bytes += bytes;
    if (this.#bytes >= PIPE_BYTES_MAX) this.#from.pause();
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers<void>();
  }

  async #write(data: Buffer, stopped: Promise<void>): Promise<void> {
    const room = this.#to.destroyed || this.#to.write(data);
    this.passed += data.length;
    if (!room) await Promise.race([once(this.#to, ["drain", "close"]), stopped]);
    this.#bytes -= data.length;
    if (this.#bytes < PIPE_BYTES_MAX) this.#from.resume();
  }
}

function once(socket: Socket, events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) socket.off(event, done);
      resolve();
    };
    for (const event of events) socket.on(event, done);
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
