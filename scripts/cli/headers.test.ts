/** The bundle's headers do as Node's own, for whatever is done to them. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { Headers as Own } from "./headers.mjs";

const name = fc.constantFrom("a", "A", "content-type", "Content-Type", "x-b");
const value = fc.stringMatching(/^ ?[a-z, ]{0,6}$/);
const step = fc.oneof(
  fc.tuple(fc.constantFrom("set" as const, "append" as const), name, value),
  fc.tuple(fc.constant("delete" as const), name, fc.constant("")),
);

it("do as Node's own", () => {
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const [own, real] = [new Own([["x-b", "1"]]), new Headers([["x-b", "1"]])];
      for (const [method, key, text] of steps) {
        own[method](key, text);
        real[method](key, text);
      }
      expect([...own]).toEqual([...real]);
      expect([...own.keys()]).toEqual([...real.keys()]);
      expect([...own.values()]).toEqual([...real.values()]);
      for (const key of ["A", "x-c"]) {
        expect([own.get(key), own.has(key)]).toEqual([real.get(key), real.has(key)]);
      }
      expect([...new Own(real)]).toEqual([...new Headers(real)]);
      expect([...new Own({ A: "b" })]).toEqual([...new Headers({ A: "b" })]);
    }),
  );
});
