/** Checks rows as a database hands them over; a row that is not of the expected form is named by its id. */
import type { SourceRow } from "./model.ts";

/** Columns of the source table. */
export const SOURCE_COLUMNS = "id, account, amount_cents, currency, note, created_at";
/** Table that the worker reads. */
export const SOURCE_TABLE = "payment";

/** A row that cannot be copied. It stops the rows of its own account, never those of others. */
export class BadRow extends Error {
  override readonly name = "BadRow";
}

type Columns = Readonly<Record<string, unknown>>;

/** The rows before the first bad one. Throws BadRow if that is the very first. */
export function decodeSourceRows(found: readonly Columns[]): readonly SourceRow[] {
  const rows: SourceRow[] = [];
  for (const columns of found) {
    try {
      rows.push(decodeSourceRow(columns));
    } catch (error) {
      if (rows.length === 0 || !(error instanceof BadRow)) throw error;
      return rows;
    }
  }
  return rows;
}

function decodeSourceRow(columns: Columns): SourceRow {
  const id = integer(columns, "id", "?");
  const createdAt = columns["created_at"];
  const time =
    createdAt instanceof Date ? createdAt.toISOString() : text(columns, "created_at", id);
  if (Number.isNaN(Date.parse(time))) throw new BadRow(`row ${id}: created_at is not a time`);
  return {
    id,
    account: text(columns, "account", id),
    amountCents: integer(columns, "amount_cents", id),
    currency: text(columns, "currency", id),
    note: text(columns, "note", id),
    createdAt: time,
  };
}

/** An integer within 53 bits; SQLite hands it over as a bigint, PostgreSQL as text. */
export function integer(columns: Columns, column: string, row: number | string): number {
  const value = columns[column];
  const isDigits = typeof value === "string" && /^-?\d+$/.test(value);
  const number = isDigits || typeof value === "bigint" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number)) return number;
  throw new BadRow(`row ${row}: ${column} is not an integer of 53 bits`);
}

export function text(columns: Columns, column: string, row: number | string): string {
  const value = columns[column];
  if (typeof value === "string") return value;
  throw new BadRow(`row ${row}: ${column} is not text`);
}
