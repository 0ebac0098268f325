/**
 * One look for all who ask before it begins: a look at a whole host costs the same for one and for a hundred. Whoever asks
 * while one is under way gets the one after it, so that nobody is told what was seen before they asked.
 */
export class SharedLooks {
  readonly #current = new Map<string, Promise<unknown>>();
  readonly #next = new Map<string, Promise<unknown>>();

  /** `what` names the question: whoever gives the same one gives a look that answers the same. */
  take<Answer>(what: string, look: () => Promise<Answer>): Promise<Answer> {
    const next = this.#next.get(what);
    if (next !== undefined) return next as Promise<Answer>;
    const current = this.#current.get(what) ?? Promise.resolve();
    const taken = current
      .catch(() => undefined)
      .then(() => {
        this.#next.delete(what);
        const answer = look();
        this.#current.set(what, answer);
        const over = () => {
          if (this.#current.get(what) === answer) this.#current.delete(what);
        };
        answer.then(over, over);
        return answer;
      });
    this.#next.set(what, taken);
    return taken;
  }
}
