/** Tokens that are whole, and all that is not. */
import { sha256 } from "@holdfast/shared/digest.ts";
import { describe, expect, it } from "vitest";
import { mintApiToken, parseApiToken } from "./api-token.ts";

const VENDOR = "01980000-0000-7000-8000-000000000001";

describe("API tokens", () => {
  const { text, secretHash } = mintApiToken(VENDOR);

  it("carry the vendor in clear and are known by the hash of their secret", () => {
    expect(text).toMatch(/^hft_01980000000070008000000000000001_[A-Za-z0-9_-]{43}_[0-9a-f]{8}$/);
    expect(parseApiToken(text)).toEqual({ vendorId: VENDOR, secretHash });
    expect(Buffer.from(secretHash).equals(sha256(text))).toBe(false);
  });

  it.each([
    { it: "empty", text: "" },
    { it: "cut", text: text.slice(0, -1) },
    { it: "changed", text: text.replace("hft_0198", "hft_0199") },
    { it: "a join token", text: "hfj_abc_00000000" },
    { it: "followed by a newline", text: `${text}\n` },
  ])("are not recognised when $it", ({ text: given }) => {
    expect(parseApiToken(given)).toBeUndefined();
  });
});
