/** Page tokens hold for one caller and one query; sizes have a bound. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Call } from "./caller.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";

const call = (tenantId: string, permission = "instance.list"): Call => ({
  caller: {
    vendorId: "v",
    vendorName: "v",
    tenantId,
    tenantName: "",
    memberId: "m",
    memberName: "m",
    roles: [],
  },
  permission,
  callId: "",
  signal: new AbortController().signal,
});

describe("page tokens", () => {
  const key = randomBytes(32);
  const binding = { call: call("a"), query: { labels: { tier: "gold" } } };
  const token = pageToken(key, binding, ["web", "id"]);

  it("give back the position to the same caller and query", () => {
    expect(readPageToken(key, binding, token)).toEqual(["web", "id"]);
    expect(readPageToken(key, binding, "")).toBeUndefined();
  });

  it.each([
    { it: "of another tenant", at: { ...binding, call: call("b") }, token },
    { it: "of another list", at: { ...binding, call: call("a", "cell.list") }, token },
    { it: "of another query", at: { ...binding, query: {} }, token },
    { it: "that was changed", at: binding, token: `${token.slice(0, -2)}xx` },
    { it: "that was cut", at: binding, token: token.slice(0, 10) },
    { it: "that was never one", at: binding, token: "' OR 1=1 --" },
  ])("$it are refused", ({ at, token: given }) => {
    const read = () => readPageToken(key, at, given);
    expect(read).toThrow(expect.objectContaining({ reason: "PAGE_TOKEN_INVALID" }));
  });
});

describe("pageSizeOf", () => {
  it.each([
    [0, 50],
    [1, 1],
    [500, 500],
    [1_000_000_000, 500],
  ])("gives %i as %i", (asked, size) => {
    expect(pageSizeOf(asked)).toBe(size);
  });
});
