/** The ring on disk: what it keeps, what it lets go, and that whoever reads is told how much that was. */
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutputRing, type RingBounds, type Told } from "./ring.ts";

const BOUNDS: RingBounds = { partBytes: 1_000, attemptBytesMax: 6_000 };

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "hf-ring-")), "1");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true, force: true }));

const ringOf = (bounds = BOUNDS) => new OutputRing(folder, bounds);
const bytes = () =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

function say(ring: OutputRing, step: string, from: number, count: number): void {
  for (let n = from; n < from + count; n++) {
    ring.append(step, [{ at: n, copy: "", text: `${step} ${n}`, cutBytes: 0 }]);
  }
}

/** All that a reader gets from a place on, page by page. */
function readAll(ring: OutputRing, given: { after?: number; step?: string; told?: Told } = {}) {
  const { step, told = new Map() } = given;
  const texts: string[] = [];
  let [after, lost] = [given.after ?? 0, 0];
  for (;;) {
    const isWanted = (each: string) => step === undefined || each === step;
    const page = ring.read({ after, isWanted, linesMax: 7, told });
    texts.push(...page.lines.map(({ text }) => text));
    lost += page.lost;
    after = page.lines.at(-1)?.number ?? after;
    if (!page.more) return { texts, lost, after };
  }
}

describe("what steps said", () => {
  it("is read in the order in which it was said, all or of one step, and goes on behind a number", () => {
    const ring = ringOf();
    for (let n = 0; n < 10; n++) say(ring, n % 2 === 0 ? "a/start" : "b/start", n, 1);
    const all = readAll(ring);
    expect(all.texts.map((text) => Number(text.split(" ")[1]))).toEqual([...Array(10).keys()]);
    expect(all.lost).toBe(0);
    expect(readAll(ring, { step: "b/start" }).texts).toHaveLength(5);
    expect(readAll(ring, { after: 8 }).texts).toEqual(["a/start 8", "b/start 9"]);
    say(ring, "a/start", 10, 1);
    expect(readAll(ring, { after: all.after }).texts).toEqual(["a/start 10"]);
  });

  it("is the last of it when a step says too much, and what is gone is counted to the line", () => {
    const ring = ringOf();
    say(ring, "quiet/start", 0, 3);
    say(ring, "loud/run", 0, 1_000);
    const { texts, lost } = readAll(ring);
    expect(texts.slice(0, 3)).toEqual(["quiet/start 0", "quiet/start 1", "quiet/start 2"]);
    expect(texts.at(-1)).toBe("loud/run 999");
    expect(texts.length + lost).toBe(1_003);
    expect(bytes()).toBeLessThan(2 * BOUNDS.partBytes + 600);
  });

  it("tells a reader that is too slow only of what it had not been told", () => {
    const ring = ringOf();
    const told: Told = new Map();
    say(ring, "a/run", 0, 5);
    say(ring, "b/run", 0, 5);
    const { after } = readAll(ring, { told });
    for (let n = 5; n < 505; n++) {
      say(ring, "a/run", n, 1);
      say(ring, "b/run", n, 1);
    }
    const later = readAll(ring, { after, told });
    expect(later.texts.length + later.lost).toBe(1_000);
  });

  it("keeps the attempt within its bound: the chattiest step loses first, and is counted", () => {
    const ring = ringOf();
    const steps = [...Array(5).keys()].map((n) => `r${n}/run`);
    for (const step of steps) say(ring, step, 0, 100);
    expect(bytes()).toBeLessThanOrEqual(BOUNDS.attemptBytesMax);
    const many = [...Array(60).keys()].map((n) => `many${n}/run`);
    for (const step of many) say(ring, step, 0, 3);
    expect(bytes()).toBeLessThanOrEqual(BOUNDS.attemptBytesMax);
    const { texts, lost } = readAll(ring);
    expect(texts.length + lost).toBe(5 * 100 + 60 * 3);
    expect(texts.at(-1)).toBe("many59/run 2");
  });

  it("is there for the next life of the agent, which goes on where it was, also after half a line", () => {
    const place = ["log-1", 1, 42] as const;
    const ring = ringOf();
    say(ring, "a/run", 0, 2);
    ring.append("a/run", [{ at: 2, copy: "a-1", text: "printed", cutBytes: 3, place }]);
    const [name = ""] = readdirSync(folder);
    appendFileSync(join(folder, name), '[4,3,"a/ru');
    const next = ringOf();
    expect(next.places.get("log-1")).toEqual({ segment: 1, offset: 42 });
    say(next, "a/run", 3, 1);
    const { texts, lost } = readAll(next);
    expect(texts).toEqual(["a/run 0", "a/run 1", "printed", "a/run 3"]);
    expect(lost).toBe(0);
  });

  it("that the disk did not take is counted as lost, and what follows is whole", () => {
    const ring = ringOf();
    say(ring, "a/run", 0, 1);
    rmSync(folder, { recursive: true });
    // Where the folder should be made there is a file.
    appendFileSync(folder, "");
    expect(() => say(ring, "a/run", 1, 1)).toThrow();
    rmSync(folder);
    say(ring, "a/run", 2, 1);
    const { texts, lost } = readAll(ring, { after: 1, told: new Map([["a/run", 1]]) });
    expect(texts).toEqual(["a/run 2"]);
    expect(lost).toBe(1);
    expect(readFileSync(join(folder, readdirSync(folder).at(-1) ?? ""), "utf8")).toContain(
      '"before":2',
    );
  });
});
