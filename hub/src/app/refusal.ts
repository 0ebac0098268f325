/** Refusals of one field of a request, in the form that all of them have. */
import { Fault } from "@holdfast/shared/fault.ts";

/** INVALID_ARGUMENT for one field. */
export function refuse(path: string, message: string, reason: string): Fault {
  const violations = [{ path, message }];
  return new Fault("INVALID_ARGUMENT", reason, `${path}: ${message}`, { violations });
}

/** FAILED_PRECONDITION: the field names what cannot be used as things stand. */
export function unfit(path: string, message: string, reason: string, next?: string): Fault {
  const detail = { violations: [{ path, message }], ...(next === undefined ? {} : { next }) };
  return new Fault("FAILED_PRECONDITION", reason, `${path}: ${message}`, detail);
}
