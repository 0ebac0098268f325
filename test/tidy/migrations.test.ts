/** Migrations are numbered from 1 on without a gap: of two with one number a database would only ever see one. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const FOLDER = join(import.meta.dirname, "../../hub/src/store/migrations");

describe("migrations", () => {
  it("have a number each, from 1 on, without a gap", () => {
    const numbers = readdirSync(FOLDER)
      .sort()
      .map((name) => Number(name.slice(0, 6)));
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
  });
});
