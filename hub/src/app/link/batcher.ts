/**
 * Answers questions of many agents at once: those that come while the database is at work on earlier ones go together
 * with the next, and so do those that come within a moment of it. One agent alone waits for nobody; a thousand at once
 * cost a few statements instead of thousands.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";

/** Questions of one vendor that go together. */
export const BATCH_MAX = 128;
/** Batches of one vendor that are under way at once; more would only wait for each other in the database. */
export const BATCHES_IN_FLIGHT_MAX = 2;

/** Between the beginnings of two batches of one vendor, when many ask; a first question waits for nothing. */
export const BATCH_GAP_MS = 20;

/** Answers in the order of the questions. One that has no answer gets a Fault in its place. */
export type AskAll<Question, Answer> = (
  vendorId: string,
  questions: readonly Question[],
) => Promise<readonly (Answer | Fault)[]>;

type Waiting<Question, Answer> = Readonly<{
  question: Question;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}>;

type Queue<Question, Answer> = {
  waiting: Waiting<Question, Answer>[];
  inFlight: number;
  isDue: boolean;
  /** When the last batch began, by the monotonic clock. */
  begunAt: number;
};

export type BatcherOptions = Readonly<{
  inFlightMax?: number;
  /** Hears how many questions go together. */
  asked?: (size: number) => void;
}>;

export class Batcher<Question, Answer> {
  readonly #askAll: AskAll<Question, Answer>;
  readonly #clock: Clock;
  readonly #inFlightMax: number;
  readonly #asked: (size: number) => void;
  /** Of each vendor that ever asked. */
  readonly #queues = new Map<string, Queue<Question, Answer>>();

  /** With one batch in flight questions are answered in the order in which they came. */
  constructor(
    askAll: AskAll<Question, Answer>,
    clock: Clock,
    { inFlightMax = BATCHES_IN_FLIGHT_MAX, asked = () => undefined }: BatcherOptions = {},
  ) {
    this.#askAll = askAll;
    this.#clock = clock;
    this.#inFlightMax = inFlightMax;
    this.#asked = asked;
  }

  ask(vendorId: string, question: Question): Promise<Answer> {
    const queue = this.#queueOf(vendorId);
    const answer = new Promise<Answer>((resolve, reject) => {
      queue.waiting.push({ question, resolve, reject });
    });
    this.#wake(vendorId, queue);
    return answer;
  }

  #queueOf(vendorId: string): Queue<Question, Answer> {
    const known = this.#queues.get(vendorId);
    if (known !== undefined) return known;
    const idle = { waiting: [], inFlight: 0, isDue: false, begunAt: Number.NEGATIVE_INFINITY };
    this.#queues.set(vendorId, idle);
    return idle;
  }

  /** After what is being read from the sockets now, so that questions of one moment go together. */
  #wake(vendorId: string, queue: Queue<Question, Answer>): void {
    if (queue.isDue || queue.inFlight >= this.#inFlightMax) return;
    queue.isDue = true;
    const run = () => {
      queue.isDue = false;
      void this.#run(vendorId, queue);
    };
    const waitMs = queue.begunAt + BATCH_GAP_MS - this.#clock.monotonic();
    if (waitMs > 0 && queue.waiting.length < BATCH_MAX) void this.#clock.sleep(waitMs).then(run);
    else setImmediate(run);
  }

  async #run(vendorId: string, queue: Queue<Question, Answer>): Promise<void> {
    const batch = queue.waiting.splice(0, BATCH_MAX);
    queue.inFlight += 1;
    queue.begunAt = this.#clock.monotonic();
    this.#asked(batch.length);
    if (queue.waiting.length > 0) this.#wake(vendorId, queue);
    await this.#answer(vendorId, batch);
    queue.inFlight -= 1;
    if (queue.waiting.length > 0) this.#wake(vendorId, queue);
  }

  /** Never rejects. What fails for all together is tried one by one, so that nobody fails for another's sake. */
  async #answer(vendorId: string, batch: readonly Waiting<Question, Answer>[]): Promise<void> {
    try {
      const questions = batch.map(({ question }) => question);
      const answers = await this.#askAll(vendorId, questions);
      for (const [at, { resolve, reject }] of batch.entries()) {
        const answer = answers[at];
        if (answer === undefined || answer instanceof Fault) reject(answer ?? missing());
        else resolve(answer);
      }
    } catch (error) {
      const isOfAll = error instanceof Fault && error.retryable;
      if (batch.length === 1 || isOfAll) for (const { reject } of batch) reject(error);
      else for (const each of batch) await this.#answer(vendorId, [each]);
    }
  }
}

function missing(): Fault {
  return new Fault("INTERNAL", "ANSWER_MISSING", "a question of an agent got no answer");
}
