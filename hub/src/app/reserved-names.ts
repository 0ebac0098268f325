/**
 * Names that mean something already: what an absent choice is called, the vendor's own seat, and what some systems
 * take for a device when a file gets the name. Pure.
 */
import type { IdKind } from "@holdfast/shared/ids.ts";
import { refuse } from "./refusal.ts";
import { RESERVED_SEAT } from "./seating.ts";

const RESERVED = /^(default|con|prn|aux|nul|com\d|lpt\d)$/;

/** Of a new object. Throws INVALID_ARGUMENT `NAME_RESERVED`. */
export function checkNotReserved(kind: IdKind, name: string): void {
  // A tenant's seat bears its name, and stands beside the vendor's in a pooled instance.
  const isSeat = kind === "tenant" && name === RESERVED_SEAT;
  if (!isSeat && !RESERVED.test(name)) return;
  throw refuse("metadata.name", `${name} is reserved; take another one`, "NAME_RESERVED");
}
