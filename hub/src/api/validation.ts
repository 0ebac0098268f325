/** Checks requests by the rules in the contracts and says what is wrong: field path, value and rule. */
import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { pathToString, reflect } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator, type Violation } from "@bufbuild/protovalidate";
import { invalid, VIOLATIONS_MAX } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

export function createRequestValidator(): Validator {
  return createValidator();
}

/** Throws INVALID_ARGUMENT `REQUEST_INVALID` with all violations (at most 20). */
export function checkRequest<D extends DescMessage>(
  validator: Validator,
  schema: D,
  message: MessageShape<D>,
): void {
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const violations = result.violations.slice(0, VIOLATIONS_MAX).map((violation) => {
    const got = valueAt(schema, message, violation);
    return {
      path: pathToString(violation.field),
      message: `${violation.message}${got === undefined ? "" : `; got ${shown(got)}`}; rule ${violation.ruleId}`,
    };
  });
  throw invalid("REQUEST_INVALID", violations);
}

/** The offending value, if it is a scalar that a plain path of fields leads to. */
function valueAt<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  { field, forKey }: Violation,
): string | undefined {
  if (forKey) return undefined;
  let at: unknown = reflect(schema, message as Message & MessageShape<D>);
  for (const part of field) {
    if (part.kind !== "field" || at === null || typeof at !== "object" || !("get" in at)) {
      return undefined;
    }
    at = (at as { get(field: unknown): unknown }).get(part);
  }
  return ["string", "number", "bigint", "boolean"].includes(typeof at) ? String(at) : undefined;
}
