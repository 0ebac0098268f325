/** What must never stand in a log, even if somebody logs it by mistake. */
import { describe, expect, it } from "vitest";
import { createLog } from "./log.ts";

describe("createLog", () => {
  const logged = (fields: Record<string, unknown>) => {
    const lines: string[] = [];
    createLog("info", { write: (line) => void lines.push(line) }).info(fields, "said");
    return lines.join("");
  };

  it.each([
    { it: "a token", fields: { token: "hft_secret" } },
    { it: "a header", fields: { headers: { authorization: "Bearer hft_secret" } } },
    { it: "a key that lies deeper", fields: { vendor: { keys: { privateKey: "hft_secret" } } } },
    { it: "a database's URL", fields: { databaseUrl: "postgres://u:hft_secret@h/d" } },
  ])("cuts out $it", ({ fields }) => {
    expect(logged(fields)).not.toContain("hft_secret");
    expect(logged(fields)).toContain("[redacted]");
  });

  it("writes one line of JSON with level and time as words", () => {
    const line = JSON.parse(logged({ method: "x" }));
    expect(line).toMatchObject({ level: "info", method: "x", msg: "said" });
    expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT/);
  });
});
