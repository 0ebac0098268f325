/** Join tokens: whole ones read back, every damage is told locally (bad inputs, row 11). */
import { describe, expect, it } from "vitest";
import { Fault } from "./fault.ts";
import { encodeJoinToken, type JoinToken, parseJoinToken } from "./join-token.ts";

const TOKEN: JoinToken = {
  vendorId: "0198a0c0-0000-7000-8000-000000000001",
  id: "0198a0c0-0000-7000-8000-000000000002",
  secret: `${"A-_".repeat(14)}x`,
  identityEndpoints: ["localhost:7402", "[::1]:7402"],
  rootFingerprint: "ab".repeat(32),
};

function refusal(text: string): string {
  try {
    parseJoinToken(text);
  } catch (error) {
    if (error instanceof Fault) return `${error.code} ${error.reason} ${error.message}`;
  }
  return "accepted";
}

describe("a join token", () => {
  it("reads back as it was made, also with white space around", () => {
    const text = encodeJoinToken(TOKEN);
    expect(text).toMatch(/^hfj_[A-Za-z0-9_-]+_[0-9a-f]{8}$/);
    expect(parseJoinToken(`  ${text}\r\n`)).toEqual(TOKEN);
  });

  it("is told to be damaged wherever it is cut or altered", () => {
    const text = encodeJoinToken(TOKEN);
    for (let at = 1; at < text.length; at++) {
      expect(refusal(text.slice(0, at))).toMatch(
        /^UNAUTHENTICATED TOKEN_DAMAGED join token damaged/,
      );
      const altered = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
      expect(refusal(altered)).toMatch(/^UNAUTHENTICATED TOKEN_DAMAGED/);
    }
  });

  it("is refused with the reason when empty, of another kind, oversized or without a field", () => {
    expect(refusal(" \n")).toContain("it is empty");
    expect(refusal("hft_0198a0c0_secret")).toContain(
      "it starts with hft_; join tokens start with hfj_",
    );
    expect(refusal("x".repeat(5000))).toContain("at most 4096");
    expect(refusal(encodeJoinToken({ ...TOKEN, secret: "short" }))).toContain("a field is missing");
    expect(refusal(encodeJoinToken({ ...TOKEN, identityEndpoints: [] }))).toContain("a field");
  });

  it("never repeats itself in a refusal", () => {
    const text = encodeJoinToken(TOKEN);
    expect(refusal(text.slice(0, -1))).not.toContain(TOKEN.secret);
    expect(refusal(text.slice(0, -1))).not.toContain(text.slice(10, 40));
  });
});
