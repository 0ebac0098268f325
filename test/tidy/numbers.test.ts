/**
 * What is numbered from 1 on has no gap and no number twice: of two migrations with one number a database would only
 * ever see one, and of two decisions nobody would know which is meant.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

describe("numbers", () => {
  it.each(["hub/src/store/migrations", "docs/adr"])(
    "of %s begin at 1 and have no gap",
    (folder) => {
      const numbers = readdirSync(join(ROOT, folder))
        .filter((name) => /^\d/.test(name))
        .sort()
        .map((name) => Number.parseInt(name, 10));
      expect(numbers.length).toBeGreaterThan(0);
      expect(numbers).toEqual(numbers.map((_, at) => at + 1));
    },
  );
});
