/**
 * What an error of PostgreSQL or of the connection means to callers. Texts name no value and no constraint
 * of another tenant: "taken" is all that a caller learns of a clash.
 */
import { Fault } from "@holdfast/shared/fault.ts";

/** Codes of pg's errors and of Node's sockets that mean: the database is not there now. */
const UNAVAILABLE = new Set([
  "57P01",
  "57P02",
  "57P03",
  "53300",
  "53400",
  "25P03",
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
const CONNECTION_TEXT =
  /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|Client (was closed|has encountered))/;

export function sqlstateOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Serialisation failure, deadlock or an outdated plan: the same transaction may well succeed now. */
export function isTransient(error: unknown): boolean {
  const code = sqlstateOf(error);
  return code === "40001" || code === "40P01" || isPlanOutdated(error);
}

/** A migration changed the columns of what a kept plan gives. PostgreSQL has no code of its own for it. */
export function isPlanOutdated(error: unknown): boolean {
  const isUnsupported = sqlstateOf(error) === "0A000";
  return isUnsupported && error instanceof Error && error.message.startsWith("cached plan");
}

export function isConnectionLoss(error: unknown): boolean {
  const code = sqlstateOf(error);
  if (UNAVAILABLE.has(code) || code.startsWith("08")) return true;
  return error instanceof Error && CONNECTION_TEXT.test(error.message);
}

type Answer = readonly [
  code: ConstructorParameters<typeof Fault>[0],
  reason: string,
  text: string,
  next?: string,
];

const ANSWERS: Readonly<Record<string, Answer>> = {
  "23505": ["ALREADY_EXISTS", "ALREADY_EXISTS", "an object with this name or id already exists"],
  "23503": [
    "FAILED_PRECONDITION",
    "REFERENCE_REFUSED",
    "the object refers to, or is referred to by, another one",
  ],
  "23514": ["INVALID_ARGUMENT", "VALUE_REFUSED", "a value breaks a rule of the database"],
  "23502": ["INVALID_ARGUMENT", "VALUE_MISSING", "a value that is needed is missing"],
  "22P02": ["INVALID_ARGUMENT", "VALUE_REFUSED", "a value has the wrong form"],
  "22003": ["INVALID_ARGUMENT", "VALUE_REFUSED", "a number is out of range"],
  "22021": ["INVALID_ARGUMENT", "VALUE_REFUSED", "a text has characters that cannot be stored"],
  "22P05": ["INVALID_ARGUMENT", "VALUE_REFUSED", "a text has characters that cannot be stored"],
  "40001": ["ABORTED", "CONFLICT", "another change came in between"],
  "40P01": ["ABORTED", "CONFLICT", "another change came in between"],
  "55P03": ["ABORTED", "LOCK_TIMEOUT", "another change of the same object takes too long"],
  "57014": ["DEADLINE_EXCEEDED", "STATEMENT_TIMEOUT", "the database took too long"],
  "25006": ["INTERNAL", "READ_ONLY", "a read-only transaction tried to write"],
  "42501": ["PERMISSION_DENIED", "WALL", "the database refused the row or the context"],
  "26000": [
    "FAILED_PRECONDITION",
    "STATEMENT_LOST",
    "a pooler that keeps no named statements stands before the database; leave database_prepares false",
  ],
  "28000": [
    "FAILED_PRECONDITION",
    "DATABASE_LOGIN",
    "the database does not let this role in; migrate makes the roles",
    "holdfast-hub migrate",
  ],
  "28P01": ["FAILED_PRECONDITION", "DATABASE_LOGIN", "the database refused the password"],
  "3D000": ["FAILED_PRECONDITION", "DATABASE_MISSING", "there is no database of this name"],
  "3F000": [
    "FAILED_PRECONDITION",
    "SCHEMA_MISSING",
    "the database was never migrated",
    "holdfast-hub migrate",
  ],
  // Raised by our own triggers (migration placement).
  HF001: ["RESOURCE_EXHAUSTED", "CELL_FULL", "the cell has no room for another instance"],
  "53100": ["RESOURCE_EXHAUSTED", "DATABASE_FULL", "the database's disk is full"],
  "53200": ["RESOURCE_EXHAUSTED", "DATABASE_MEMORY", "the database is out of memory"],
};

/** The fault for whatever a query threw; the original is its cause. A fault stays what it is. */
export function databaseFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (isConnectionLoss(error)) {
    return new Fault("UNAVAILABLE", "DATABASE_UNAVAILABLE", "the database is not reachable", {
      cause: error,
      retryAfterMs: 1_000,
    });
  }
  const answer = ANSWERS[sqlstateOf(error)];
  if (answer === undefined) {
    return new Fault("INTERNAL", "DATABASE", "a database statement failed", { cause: error });
  }
  const [code, reason, text, next] = answer;
  return new Fault(code, reason, text, { cause: error, ...(next === undefined ? {} : { next }) });
}
