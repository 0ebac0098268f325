/** Reading counters out of what a workload exposes. */
import { describe, expect, it } from "vitest";
import { samplesOf } from "./exposition.ts";

const text = `# HELP etl_rows_total rows
# TYPE etl_rows_total counter
etl_rows_total{seat="sea_1",source="dst-1"} 12
etl_rows_total{seat="a,b}\\"c",source="x",} 1.2e1 1700000000
etl_rows_total_created{seat="sea_1"} 5
etl_rows_totals 7
plain 3
`;

describe("samplesOf", () => {
  it("reads values and labels of exactly the metric asked for", () => {
    expect(samplesOf(text, "etl_rows_total")).toEqual([
      { labels: { seat: "sea_1", source: "dst-1" }, value: 12n },
      { labels: { seat: 'a,b}"c', source: "x" }, value: 12n },
    ]);
    expect(samplesOf(text, "plain")).toEqual([{ labels: {}, value: 3n }]);
  });

  it.each([
    "m 1.5",
    "m NaN",
    "m -1",
    "m +Inf",
    "m 9223372036854775808",
    "m",
    'm{a="b" 1',
    "m{a=b} 1",
  ])("refuses %j and names the line", (line) => {
    expect(() => samplesOf(`# x\n${line}\n`, "m")).toThrow(/line 2: got m/);
  });

  it("takes the largest value that the ledger holds, exactly", () => {
    expect(samplesOf("m 9223372036854775807", "m")[0]?.value).toBe(2n ** 63n - 1n);
  });

  it("does not let a label reach a prototype", () => {
    const [sample] = samplesOf('m{__proto__="x"} 1', "m");
    expect(Object.keys(sample?.labels ?? {})).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(sample?.labels)).toBeNull();
  });
});
