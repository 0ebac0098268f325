/**
 * Who looks at the output of steps now, in this process: asked of the agent through whatever holds its link, and handed
 * on part by part. Nothing is kept: an agent's next part is taken when the viewer took the one before, so that a slow
 * viewer holds up its own stream alone, and what it misses is lost and counted where the lines are.
 */

import type {
  OutputAnswer,
  OutputPart,
  ShowOutput,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { OutputTaker } from "../link/port.ts";
import type { CellRef } from "./cell-bells.ts";

/** Of all vendors, of one, and of one cell, whose agent bears twice as many. */
export const OUTPUT_VIEWS_MAX = 100;
export const OUTPUT_VIEWS_PER_VENDOR_MAX = 50;
export const OUTPUT_VIEWS_PER_CELL_MAX = 8;
/** From the question to the agent's answer. */
export const OUTPUT_ANSWER_MS_MAX = 10_000;
/** An agent gives a sign of life every 15 s. */
export const OUTPUT_SILENCE_MS_MAX = 45_000;

/** False if the cell's agent is not connected here. */
export type SendShow = (cell: CellRef, show: ShowOutput) => boolean;

export class OutputViews {
  readonly #clock: Clock;
  readonly #open = new Map<string, OutputView>();
  #send: SendShow = () => false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whoever holds the links. Returns how to let go. */
  attach(send: SendShow): () => void {
    this.#send = send;
    return () => {
      this.#send = () => false;
    };
  }

  /**
   * Undefined if the cell's agent is not connected here; else to be left by the caller. Throws RESOURCE_EXHAUSTED
   * `OUTPUT_VIEWS_TOO_MANY`.
   */
  open(cell: CellRef, show: ShowOutput, signal: AbortSignal): OutputView | undefined {
    const open = [...this.#open.values()];
    const ofCell = open.filter((view) => view.isOf(cell)).length;
    const ofVendor = open.filter(({ vendorId }) => vendorId === cell.vendorId).length;
    refuseMore(ofCell, OUTPUT_VIEWS_PER_CELL_MAX, "of this cell");
    refuseMore(ofVendor, OUTPUT_VIEWS_PER_VENDOR_MAX, "of this vendor");
    refuseMore(this.#open.size, OUTPUT_VIEWS_MAX, "of this hub");
    const { id } = show;
    const view = new OutputView(this.#clock, cell, signal, () => void this.#open.delete(id));
    this.#open.set(id, view);
    if (this.#send(cell, show)) return view;
    view.leave();
    return undefined;
  }

  /** The agent has answered. Throws NOT_FOUND `UNASKED` if nobody waits for this cell's. */
  answered(cell: CellRef, answer: OutputAnswer): OutputTaker {
    const view = this.#open.get(answer.id);
    if (view?.isOf(cell) === true) return view.answer(answer);
    const message = `output ${shown(answer.id)}: nobody waits for it`;
    throw new Fault("NOT_FOUND", "UNASKED", message);
  }
}

function refuseMore(present: number, max: number, whose: string): void {
  if (present < max) return;
  const message = `${max} views of output ${whose} are open; try again when one has ended`;
  throw new Fault("RESOURCE_EXHAUSTED", "OUTPUT_VIEWS_TOO_MANY", message);
}

/** One viewer and one stream of an agent, which meet here part by part. */
export class OutputView {
  readonly #clock: Clock;
  readonly #cell: CellRef;
  readonly #over = new AbortController();
  readonly #forget: () => void;
  #answer: OutputAnswer | undefined;
  #part: OutputPart | undefined;
  #isEnded = false;
  #taken: () => void = () => undefined;
  #news: () => void = () => undefined;

  constructor(clock: Clock, cell: CellRef, signal: AbortSignal, forget: () => void) {
    this.#clock = clock;
    this.#cell = cell;
    this.#forget = forget;
    signal.addEventListener("abort", () => this.leave(), { once: true });
    if (signal.aborted) this.leave();
  }

  get vendorId(): string {
    return this.#cell.vendorId;
  }

  isOf({ vendorId, cellId }: CellRef): boolean {
    return this.#cell.vendorId === vendorId && this.#cell.cellId === cellId;
  }

  /** The agent's answer; undefined if its stream or the viewer has gone first. Throws DEADLINE_EXCEEDED `OUTPUT_LATE`. */
  async answered(): Promise<OutputAnswer | undefined> {
    const isIn = await this.#heard(OUTPUT_ANSWER_MS_MAX, () => this.#answer !== undefined);
    if (isIn) return this.#answer;
    const message = `the agent did not answer within ${OUTPUT_ANSWER_MS_MAX} ms; one that is older than this hub does not know how`;
    throw new Fault("DEADLINE_EXCEEDED", "OUTPUT_LATE", message, { next: "holdfast get agents" });
  }

  /** Undefined once the agent's stream is over, or the viewer has gone. Throws DEADLINE_EXCEEDED `OUTPUT_SILENT`. */
  async next(): Promise<OutputPart | undefined> {
    const isIn = await this.#heard(OUTPUT_SILENCE_MS_MAX, () => this.#part !== undefined);
    if (!isIn) {
      const message = `the agent gave no sign of life within ${OUTPUT_SILENCE_MS_MAX} ms`;
      throw new Fault("UNAVAILABLE", "OUTPUT_SILENT", message, { next: "holdfast get agents" });
    }
    const part = this.#part;
    this.#part = undefined;
    this.#taken();
    return part;
  }

  /** Nobody looks any more. */
  leave(): void {
    this.#forget();
    this.#over.abort("the viewer has gone");
    this.#taken();
    this.#news();
  }

  answer(answer: OutputAnswer): OutputTaker {
    this.#answer = answer;
    this.#news();
    return {
      left: this.#over.signal,
      take: (part) => this.#take(part),
      ended: () => {
        this.#isEnded = true;
        this.#news();
      },
    };
  }

  async #take(part: OutputPart): Promise<void> {
    if (this.#over.signal.aborted) return;
    const taken = new Promise<void>((resolve) => {
      this.#taken = resolve;
    });
    this.#part = part;
    this.#news();
    await taken;
  }

  /** Whether there is something, or nothing more comes; false: it took too long. */
  async #heard(msMax: number, isThere: () => boolean): Promise<boolean> {
    const isDone = () => isThere() || this.#isEnded || this.#over.signal.aborted;
    if (isDone()) return true;
    const stop = new AbortController();
    this.#news = () => isDone() && stop.abort("news");
    await this.#clock.sleep(msMax, stop.signal);
    this.#news = () => undefined;
    return isDone();
  }
}
