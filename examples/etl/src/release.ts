/**
 * What tells the releases of the worker apart. The code base is one; each release is built from an entry file
 * (`release-1.0.ts` …) that picks its row of this table, so the bundle of 1.0 behaves as 1.0 for ever.
 */
import type { CopiedRow, SourceRow } from "./model.ts";
import { RATES, type Rates, toEurCents } from "./rates.ts";

export type Release = Readonly<{
  version: string;
  /** Whether `/` and `/metrics` say which release runs. */
  showsVersion: boolean;
  /** Where exchange rates come from; `file` needs the setting RATES_FILE. */
  rates: "none" | "built_in" | "file";
  /** Pure: the same row gives the same result in every process. */
  transform(row: SourceRow, rates: Rates): CopiedRow;
}>;

/** Tidies the text; leaves the currency as it was written. */
export const RELEASE_1_0: Release = {
  version: "1.0.0",
  showsVersion: false,
  rates: "none",
  transform: (row) => ({ ...tidied(row), amountEurCents: null, release: "1.0.0" }),
};

/** Adds a normalised amount in euro cents and writes currencies in upper case. */
export const RELEASE_1_1: Release = {
  version: "1.1.0",
  showsVersion: true,
  rates: "built_in",
  transform: (row, rates) => ({ ...normalised(row, rates), release: "1.1.0" }),
};

/**
 * Takes the rates from a file instead of the built-in table. Its blueprint forgets to pass RATES_FILE, so an
 * instance of 1.2.0 waits for rates for ever and never gets ready: the release to try a broken upgrade with.
 */
export const RELEASE_1_2: Release = {
  version: "1.2.0",
  showsVersion: true,
  rates: "file",
  transform: (row, rates) => ({ ...normalised(row, rates), release: "1.2.0" }),
};

/** The rates that a release starts with; `file` releases start without. */
export function builtInRates(release: Release): Rates | undefined {
  return release.rates === "file" ? undefined : RATES;
}

function tidied(row: SourceRow): Omit<CopiedRow, "amountEurCents" | "release"> {
  return {
    sourceId: row.id,
    account: row.account,
    amountCents: row.amountCents,
    currency: tidy(row.currency),
    note: tidy(row.note),
    createdAt: new Date(row.createdAt).toISOString(),
  };
}

/** Runs of white space become one space; so does NUL, which PostgreSQL does not take. */
function tidy(text: string): string {
  return text.replace(/[\s\0]+/gu, " ").trim();
}

function normalised(row: SourceRow, rates: Rates): Omit<CopiedRow, "release"> {
  const plain = tidied(row);
  const currency = plain.currency.toUpperCase();
  return { ...plain, currency, amountEurCents: toEurCents(row.amountCents, currency, rates) };
}
