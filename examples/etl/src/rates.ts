/** Exchange rates in integers, so that a conversion gives the same cents on every machine. */

/** Currency in upper case to millionths of a euro for one unit of it. */
export type Rates = ReadonlyMap<string, number>;

const MILLION = 1_000_000n;
export const RATES_MAX = 500;

/** Fixed rates of the example; not a market's. */
export const RATES: Rates = new Map([
  ["EUR", 1_000_000],
  ["USD", 921_350],
  ["GBP", 1_172_480],
  ["JPY", 6_185],
]);

/** Rounded to the nearest cent, halves away from zero. Null without a rate, or beyond 53 bits. */
export function toEurCents(amountCents: number, currency: string, rates: Rates): number | null {
  const rate = rates.get(currency);
  if (rate === undefined) return null;
  const product = BigInt(amountCents) * BigInt(rate);
  const half = product < 0n ? -MILLION / 2n : MILLION / 2n;
  const cents = Number((product + half) / MILLION);
  return Number.isSafeInteger(cents) ? cents : null;
}

/** Rates from a JSON object such as {"USD": 921350}. Throws an Error that says what is wrong. */
export function parseRates(text: string): Rates {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError("rates: expected an object of currency to millionths of a euro");
  }
  const entries = Object.entries(value);
  if (entries.length > RATES_MAX) {
    throw new RangeError(`rates: got ${entries.length} currencies; at most ${RATES_MAX}`);
  }
  return new Map(entries.map(([currency, rate]) => [currencyOf(currency), rateOf(currency, rate)]));
}

function currencyOf(currency: string): string {
  if (/^[A-Z]{3}$/.test(currency)) return currency;
  throw new TypeError(
    `rates: got currency ${JSON.stringify(currency.slice(0, 20))}; expected three capitals`,
  );
}

function rateOf(currency: string, rate: unknown): number {
  if (Number.isSafeInteger(rate) && typeof rate === "number" && rate > 0) return rate;
  throw new TypeError(
    `rates.${currency}: got ${JSON.stringify(rate)}; expected a positive integer`,
  );
}
