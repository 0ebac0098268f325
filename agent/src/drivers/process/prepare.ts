/** Tries all that can fail in a start before anything is changed. */
import { Fault, invalid } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { accountOf } from "../host-process/account.ts";
import { programOf } from "../host-process/artefact.ts";
import { findCopies } from "../host-process/copies.ts";
import { checkEnvironment } from "../host-process/environment.ts";
import { secretValue } from "../host-process/secrets.ts";
import type { ProcessHost } from "./host.ts";
import { fixedPortProblem, portInUse } from "./ports.ts";
import { portsOf, renderedSpecOf } from "./spec.ts";

/** Linux refuses longer single arguments (MAX_ARG_STRLEN, 32 pages of 4 KiB). */
const ARGUMENT_BYTES_MAX = 131_071;
/** Of all arguments and variables; Linux allows a quarter of the stack, 2 MiB by default. */
const ARGUMENTS_BYTES_MAX = 1_048_576;

/**
 * Throws what the start would: INVALID_ARGUMENT `SPEC_INVALID`, `PROGRAM_PATH`, `ENVIRONMENT_REFUSED`,
 * `ARGUMENTS_TOO_LONG`; FAILED_PRECONDITION `ARTEFACT_MISSING`, `SECRET_MISSING`, `PORT_IN_USE`,
 * `USER_NOT_ALLOWED`, `USER_UNKNOWN`; PERMISSION_DENIED `USER_IS_ROOT`.
 */
export async function prepareStart(
  host: ProcessHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = renderedSpecOf(wanted.spec);
  const program = programOf(spec, wanted.artefacts, host.nodePath);
  for (const { exec } of [spec.readiness ?? {}, spec.liveness ?? {}]) {
    if (exec === undefined) continue;
    const { artefact } = spec;
    checkLengths(programOf({ artefact, argv: exec.argv }, wanted.artefacts, host.nodePath).args);
  }
  accountOf(host, spec.user);
  const violations = checkEnvironment(spec.env, "env");
  if (violations.length > 0) throw invalid("ENVIRONMENT_REFUSED", violations);
  checkLengths([...program.args, ...Object.entries(spec.env).map((pair) => pair.join("="))]);
  for (const [name, secret] of Object.entries(spec.secretFiles)) secretValue(wanted, name, secret);
  for (const [name, port] of portsOf(spec)) {
    if (port !== undefined) await checkFixedPort(host, wanted, name, port, context);
  }
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

/** Held by the copy that is to be replaced, a port will be free when it is needed. */
async function checkFixedPort(
  host: ProcessHost,
  { key }: Wanted,
  name: string,
  port: number,
  context: DriverContext,
): Promise<void> {
  const problem = await fixedPortProblem(name, port, host.procDir);
  if (problem === undefined) return;
  const copies = await findCopies(host, context);
  const holder = copies.find(({ members }) => members.some(({ pid }) => pid === problem.pid));
  if (holder === undefined) throw portInUse(problem.message);
  const { instanceId, resourceId } = holder.key;
  if (instanceId === key.instanceId && resourceId === key.resourceId) return;
  throw portInUse(`${problem.message}, which is ${resourceId} of ${instanceId} on this agent`);
}
