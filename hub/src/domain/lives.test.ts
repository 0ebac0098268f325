/** What is a second process with the same identity, and what is only an agent that starts again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isForked, LIVES_MAX, type Lives, livesAfter } from "./lives.ts";

const livesOf = (hellos: readonly string[]) =>
  hellos.reduce<Lives>((lives, id) => livesAfter(lives, id), []);
const judged = (...hellos: string[]) => isForked(livesOf(hellos));

describe("an identity", () => {
  it("is forked once each of two processes came back three times after the other", () => {
    expect(judged("a", "b", "a", "b", "a", "b", "a")).toBe(false);
    expect(judged("a", "b", "a", "b", "a", "b", "a", "b")).toBe(true);
  });

  it("is forked also where the processes say hello more than once in a row", () => {
    expect(judged("a", "a", "b", "a", "a", "b", "b", "a", "b", "a", "b")).toBe(true);
  });

  it("is forked also by a process that starts again in between", () => {
    expect(judged("a", "b", "a", "c", "a", "c", "a", "c", "a", "c")).toBe(true);
  });

  it("is forked by three processes", () => {
    expect(judged("a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "b")).toBe(true);
  });

  it("is not forked by hellos that were read late, one for each process that ended", () => {
    expect(judged("a", "b", "a", "b", "c", "b", "c", "d", "c", "d", "e", "d", "e")).toBe(false);
  });

  it("is not judged where the agent says no life", () => {
    expect(judged("", "a", "", "a", "", "a", "", "a")).toBe(false);
  });
});

describe("an agent that is alone", () => {
  /** How often each process in turn says hello, and whether the last one of the process before is read late. */
  const processes = fc.array(
    fc.record({ hellos: fc.integer({ min: 1, max: 20 }), isLate: fc.boolean() }),
    { maxLength: 40 },
  );

  it("is never taken for two, whatever its restarts, its reconnects and late reads", () => {
    fc.assert(
      fc.property(processes, (all) => {
        const read = all.flatMap(({ hellos, isLate }, n) => {
          const own = Array.from({ length: hellos }, () => `life-${n}`);
          return isLate && n > 0 ? [`life-${n}`, `life-${n - 1}`, ...own] : own;
        });
        return !isForked(livesOf(read));
      }),
    );
  });

  it("is remembered by a bounded number of lives", () => {
    const many = Array.from({ length: 100 }, (_, n) => `life-${n}`);
    expect(livesOf(many)).toHaveLength(LIVES_MAX);
  });
});
