/**
 * Answers questions of many agents at once: those that come while the database is at work on earlier ones go together
 * with the next. One agent alone waits for nobody; a thousand at once cost a few statements instead of thousands.
 */
import { Fault } from "@holdfast/shared/fault.ts";

/** Questions of one vendor that go together. */
export const BATCH_MAX = 128;
/** Batches of one vendor that are under way at once; more would only wait for each other in the database. */
export const BATCHES_IN_FLIGHT_MAX = 2;

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
};

export type BatcherOptions = Readonly<{
  inFlightMax?: number;
  /** Hears how many questions go together. */
  asked?: (size: number) => void;
}>;

export class Batcher<Question, Answer> {
  readonly #askAll: AskAll<Question, Answer>;
  readonly #inFlightMax: number;
  readonly #asked: (size: number) => void;
  readonly #queues = new Map<string, Queue<Question, Answer>>();

  /** With one batch in flight questions are answered in the order in which they came. */
  constructor(
    askAll: AskAll<Question, Answer>,
    { inFlightMax = BATCHES_IN_FLIGHT_MAX, asked = () => undefined }: BatcherOptions = {},
  ) {
    this.#askAll = askAll;
    this.#inFlightMax = inFlightMax;
    this.#asked = asked;
  }

  ask(vendorId: string, question: Question): Promise<Answer> {
    const queue = this.#queues.get(vendorId) ?? { waiting: [], inFlight: 0, isDue: false };
    this.#queues.set(vendorId, queue);
    const answer = new Promise<Answer>((resolve, reject) => {
      queue.waiting.push({ question, resolve, reject });
    });
    this.#wake(vendorId, queue);
    return answer;
  }

  /** After what is being read from the sockets now, so that questions of one moment go together. */
  #wake(vendorId: string, queue: Queue<Question, Answer>): void {
    if (queue.isDue || queue.inFlight >= this.#inFlightMax) return;
    queue.isDue = true;
    setImmediate(() => {
      queue.isDue = false;
      void this.#run(vendorId, queue);
    });
  }

  async #run(vendorId: string, queue: Queue<Question, Answer>): Promise<void> {
    const batch = queue.waiting.splice(0, BATCH_MAX);
    queue.inFlight += 1;
    this.#asked(batch.length);
    if (queue.waiting.length > 0) this.#wake(vendorId, queue);
    await this.#answer(vendorId, batch);
    queue.inFlight -= 1;
    if (queue.waiting.length > 0) this.#wake(vendorId, queue);
    else if (queue.inFlight === 0) this.#queues.delete(vendorId);
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
