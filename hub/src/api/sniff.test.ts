/** The first bytes of each protocol, whole and in part. */
import { describe, expect, it } from "vitest";
import { judgeFirstBytes } from "./sniff.ts";

describe("judgeFirstBytes", () => {
  it.each([
    { it: "waits for the first byte", bytes: "", want: undefined },
    { it: "knows a TLS handshake by one byte", bytes: "\x16", want: "tls" },
    { it: "waits while P may be PRI or POST", bytes: "P", want: undefined },
    { it: "waits for the whole preface", bytes: "PRI * HTTP", want: undefined },
    { it: "knows the HTTP/2 preface", bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: "http2" },
    { it: "knows POST", bytes: "POST /x HTTP/1.1\r\n", want: "http1" },
    { it: "knows PUT by two bytes", bytes: "PU", want: "http1" },
    { it: "takes rubbish for HTTP/1.1, which refuses it", bytes: "\x00\x01", want: "http1" },
  ])("$it", ({ bytes, want }) => {
    expect(judgeFirstBytes(Buffer.from(bytes, "latin1"))).toBe(want);
  });
});
