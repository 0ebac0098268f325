/** What each release makes of a row, written out by hand. */
import { describe, expect, it } from "vitest";
import type { SourceRow } from "./model.ts";
import { parseRates, RATES, toEurCents } from "./rates.ts";
import { RELEASE_1_0, RELEASE_1_1, RELEASE_1_2 } from "./release.ts";

const row: SourceRow = {
  id: 7,
  account: "acme",
  amountCents: 12_345,
  currency: " usd",
  note: "line\nbreak \t and\0 more ",
  createdAt: "2026-01-01T00:00:07Z",
};
const tidied = {
  sourceId: 7,
  account: "acme",
  amountCents: 12_345,
  note: "line break and more",
  createdAt: "2026-01-01T00:00:07.000Z",
};

describe("transform", () => {
  it("of 1.0 tidies texts and leaves the currency as it was written", () => {
    const copied = { ...tidied, currency: "usd", amountEurCents: null, release: "1.0.0" };
    expect(RELEASE_1_0.transform(row, RATES)).toEqual(copied);
  });

  it("of 1.1 writes the currency in upper case and adds euro cents", () => {
    const copied = { ...tidied, currency: "USD", amountEurCents: 11_374, release: "1.1.0" };
    expect(RELEASE_1_1.transform(row, RATES)).toEqual(copied);
  });

  it("of 1.2 converts with the rates that it is given", () => {
    const rates = parseRates('{"USD": 500000}');
    expect(RELEASE_1_2.transform(row, rates)).toMatchObject({ amountEurCents: 6_173 });
  });
});

describe("toEurCents", () => {
  it.each([
    { it: "rounds a half away from zero", cents: 1, rate: 500_000, eur: 1 },
    { it: "rounds a negative half away from zero", cents: -1, rate: 500_000, eur: -1 },
    { it: "rounds less than a half to zero", cents: 1, rate: 499_999, eur: 0 },
    {
      it: "keeps a large amount exact",
      cents: 9_007_199_254_740_991,
      rate: 1_000_000,
      eur: 9_007_199_254_740_991,
    },
    { it: "gives null beyond 53 bits", cents: 9_007_199_254_740_991, rate: 1_000_001, eur: null },
  ])("$it", ({ cents, rate, eur }) => {
    expect(toEurCents(cents, "USD", new Map([["USD", rate]]))).toBe(eur);
  });

  it("gives null for a currency without a rate", () => {
    expect(toEurCents(100, "XTS", RATES)).toBeNull();
  });
});

describe("parseRates", () => {
  it.each([
    ["[]", "expected an object"],
    ['{"usd": 1}', "expected three capitals"],
    ['{"USD": 0}', "rates.USD: got 0"],
    ['{"USD": "1"}', "expected a positive integer"],
  ])("refuses %s", (text, message) => {
    expect(() => parseRates(text)).toThrow(message);
  });
});
