/** Tries what can fail in the start of any program before anything is changed. */
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import { Fault, invalid } from "@holdfast/shared/fault.ts";
import type { Wanted } from "../driver.ts";
import { accountOf } from "./account.ts";
import { programOf } from "./artefact.ts";
import { checkEnvironment } from "./environment.ts";
import type { ProgramHost } from "./host.ts";
import { secretValue } from "./secrets.ts";

/** Linux refuses longer single arguments (MAX_ARG_STRLEN, 32 pages of 4 KiB). */
const ARGUMENT_BYTES_MAX = 131_071;
/** Of all arguments and variables; Linux allows a quarter of the stack, 2 MiB by default. */
const ARGUMENTS_BYTES_MAX = 1_048_576;

/**
 * `others`: argument lists that run beside the program's own, such as those of probes. Throws what the start would:
 * INVALID_ARGUMENT `PROGRAM_PATH`, `ENVIRONMENT_REFUSED`, `ARGUMENTS_TOO_LONG`; FAILED_PRECONDITION
 * `ARTEFACT_MISSING`, `SECRET_MISSING`, `USER_NOT_ALLOWED`, `USER_UNKNOWN`; PERMISSION_DENIED `USER_IS_ROOT`.
 */
export function prepareProgram(
  host: ProgramHost,
  wanted: Wanted,
  spec: ProgramSpec,
  others: readonly (readonly string[])[],
): void {
  const variables = Object.entries(spec.env).map((pair) => pair.join("="));
  const lists = [spec.argv, ...others].map((argv) => {
    const { artefact } = spec;
    return programOf({ artefact, argv }, wanted.artefacts, host.nodePath).args;
  });
  accountOf(host, spec.user);
  const violations = checkEnvironment(spec.env, "env");
  if (violations.length > 0) throw invalid("ENVIRONMENT_REFUSED", violations);
  for (const args of lists) checkLengths([...args, ...variables]);
  for (const [name, secret] of Object.entries(spec.secretFiles)) secretValue(wanted, name, secret);
}

function checkLengths(texts: readonly string[]): void {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const longest = Math.max(0, ...lengths);
  if (longest <= ARGUMENT_BYTES_MAX && total <= ARGUMENTS_BYTES_MAX) return;
  throw new Fault(
    "INVALID_ARGUMENT",
    "ARGUMENTS_TOO_LONG",
    `argv and env: the longest has ${longest} bytes of at most ${ARGUMENT_BYTES_MAX}, all have ${total} of at most ${ARGUMENTS_BYTES_MAX}`,
  );
}
