/** The limits of both ports as docs/limits.md lists them are those of the code, all of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CALL_LIMITS } from "../../hub/src/api/routes.ts";
import { SERVER_LIMITS } from "../../hub/src/api/server.ts";
import * as linkLimits from "../../hub/src/link/limits.ts";

const DOCUMENT = readFileSync(join(import.meta.dirname, "../../docs/limits.md"), "utf8");

function rowsOf(limits: object): readonly string[] {
  return Object.entries(limits)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `| \`${name}\` | ${value.toLocaleString("en")} |`);
}

describe("docs/limits.md", () => {
  it.each([
    { heading: "## The API's port", limits: { ...SERVER_LIMITS, ...CALL_LIMITS } },
    { heading: "## The agents' ports", limits: linkLimits },
  ])("lists under '$heading' what the code says", ({ heading, limits }) => {
    const section = DOCUMENT.split(/^(?=## )/m).find((part) => part.startsWith(heading)) ?? "";
    const rows = section.split("\n").filter((line) => line.startsWith("| `"));
    expect(rows.toSorted()).toEqual(rowsOf(limits).toSorted());
  });
});
