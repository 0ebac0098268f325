/**
 * What the engine's refusals mean. By status where Docker and Podman agree, by their words where they do not: Podman
 * answers 500 for a name that is taken and for a port in use, and writes "no such" where Docker writes "No such".
 */
import { causeChain, Fault, type FaultCode } from "@holdfast/shared/fault.ts";
import { cut, escapeControls } from "@holdfast/shared/text.ts";

const SAID_CHARS_MAX = 400;

type Refusal = Readonly<{ status?: number; said: string }>;

/** The cause of a fault that the engine's own answer made. */
class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.said);
    this.refusal = refusal;
  }
}

const UNREACHABLE = [
  "ENOENT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "EACCES",
  "EPERM",
  "ETIMEDOUT",
];

type Rule = Readonly<{ words: RegExp; code: FaultCode; reason: string; next?: string }>;

/** The first that fits; each names what both engines say. */
const RULES: readonly Rule[] = [
  {
    words: /no space left on device|disk quota exceeded/i,
    ...{ code: "RESOURCE_EXHAUSTED", reason: "DISK_FULL" },
    next: "free space on the disk of the container engine",
  },
  {
    words:
      /could not find an available.*address pool|subnet.*exhausted|could not find free subnet/i,
    ...{ code: "RESOURCE_EXHAUSTED", reason: "NETWORKS_EXHAUSTED" },
    next: "remove unused networks, or give the engine more with default-address-pools",
  },
  {
    words: /could not select device driver|nvidia-container|unknown device/i,
    ...{ code: "FAILED_PRECONDITION", reason: "GPU_MISSING" },
    next: "install the engine's driver for these devices, or publish a release without gpus",
  },
  {
    words: /unauthorized|authentication required|no basic auth|denied: requested access/i,
    ...{ code: "PERMISSION_DENIED", reason: "REGISTRY_REFUSED" },
    next: "check image.credentials: the secret's value is user:password",
  },
  {
    words: /manifest unknown|not found: manifest|repository .* not found/i,
    ...{ code: "NOT_FOUND", reason: "IMAGE_MISSING" },
    next: "push the image to the registry again, or publish a release with another digest",
  },
  {
    words:
      /no such host|connection refused|i\/o timeout|TLS handshake|certificate|server gave HTTP/i,
    ...{ code: "UNAVAILABLE", reason: "REGISTRY_UNREACHABLE" },
  },
];

/** Anything that is thrown while the engine is asked; faults stay what they are. */
export function engineFault(what: string, error: unknown, socket: string): Fault {
  if (error instanceof Fault) return error;
  const { code } = error as NodeJS.ErrnoException;
  const refusal = refusalIn(error);
  const isGoneAway =
    refusal.status === undefined && code !== undefined && UNREACHABLE.includes(code);
  if (isGoneAway || /socket hang up/.test(refusal.said)) {
    const message = `${what}: the container engine at ${socket} does not answer: ${causeChain(error)}`;
    const next = "start the container engine, such as: systemctl start docker";
    return new Fault("UNAVAILABLE", "ENGINE_UNREACHABLE", message, { cause: error, next });
  }
  const rule = RULES.find(({ words }) => words.test(refusal.said));
  const status = refusal.status === undefined ? "" : ` (${refusal.status})`;
  const message = `${what}: the engine refused${status}: ${refusal.said}`;
  const details = { cause: new EngineRefusal(refusal), ...(rule?.next && { next: rule.next }) };
  return new Fault(rule?.code ?? "UNAVAILABLE", rule?.reason ?? "ENGINE_REFUSED", message, details);
}

/** What the engine says in a stream of progress. */
export function refusedInStream(what: string, said: string): Fault {
  return engineFault(what, new Error(said), "");
}

function refusalIn(error: unknown): Refusal {
  const { statusCode, json, message } = error as {
    statusCode?: number;
    json?: { message?: unknown; cause?: unknown };
    message?: string;
  };
  const said = typeof json?.message === "string" ? json.message : String(message ?? error);
  const text = cut(escapeControls(said.trim()), SAID_CHARS_MAX);
  return { said: text, ...(typeof statusCode === "number" && { status: statusCode }) };
}

function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof Fault)) return refusalIn(error);
  return error.cause instanceof EngineRefusal ? error.cause.refusal : undefined;
}

/** There is no such container, image, network or volume. */
export function isGone(error: unknown): boolean {
  const { status, said = "" } = refusalOf(error) ?? {};
  if (status === 404) return true;
  return /no such (container|image|network|volume)|network not found|(image|volume) not known/i.test(
    said,
  );
}

/** What was asked for; undefined where there is no such thing. */
export async function unlessGone<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Somebody else has the name. */
export function isTaken(error: unknown): boolean {
  const { status, said = "" } = refusalOf(error) ?? {};
  return (status === 409 || status === 500) && /already (in use|exists)|is in use by/i.test(said);
}

/** It is so already: started, stopped, not running, being removed, used by somebody. */
export function isSettled(error: unknown): boolean {
  const { status, said = "" } = refusalOf(error) ?? {};
  if (status === 304) return true;
  const words =
    /is not running|already (stopped|started|paused|in progress)|container state improper|is already being removed/i;
  return (status === 409 || status === 500) && words.test(said);
}

/** It is used by a container, and so stays. */
export function isUsed(error: unknown): boolean {
  const { status, said = "" } = refusalOf(error) ?? {};
  const words =
    /is using|being used|in use|has active endpoints|has dependent child|multiple repositories/i;
  return (status === 409 || status === 403 || status === 500) && words.test(said);
}

/** The port of the host that could not be had; 0 where the engine does not say which. */
export function portTaken(error: unknown): number | undefined {
  const { said = "" } = refusalOf(error) ?? {};
  if (!/port is already allocated|address already in use/i.test(said)) return undefined;
  const port = /:(\d{1,5})(?::| failed|\)| )/.exec(said)?.[1];
  return Number(port ?? 0);
}
