/**
 * Answers one question of what the steps of an attempt said, page by page, and goes on with what comes if it was asked
 * to. Looks for itself what there is whenever it is woken; what the reader was too slow for is counted. Refuses what the
 * customer's settings do not let out, and what is not there.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type OutputPart,
  OutputPartSchema,
  type ShowOutput,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as pastAttempts from "../store/past-attempts.ts";
import { ORDERED, type OutputKey, type StepOutputs } from "./outputs.ts";
import type { RingLine, Told } from "./ring.ts";

/** Of one page; 16 KiB each is the longest, and most are far shorter. */
const PAGE_LINES_MAX = 50;
/** The contract's sign of life. */
const SIGN_OF_LIFE_MS = 15_000;
const POSITION = /^(0|[1-9]\d{0,14})\.(\d{1,15})$/;

export type ShowDeps = Readonly<{
  store: Store;
  outputs: StepOutputs;
  clock: Clock;
  /** Hears who asked. */
  log?: Log;
  /** The setting that keeps output here; undefined: it may be shown. */
  stays: string | undefined;
}>;

/**
 * Throws before the first page: PERMISSION_DENIED `OUTPUT_STAYS_HERE`, NOT_FOUND `ATTEMPT_UNKNOWN` or `STEP_UNKNOWN`,
 * INVALID_ARGUMENT `PAGE_TOKEN_INVALID`.
 */
export async function* showOutput(
  deps: ShowDeps,
  ask: ShowOutput,
  signal: AbortSignal,
): AsyncGenerator<OutputPart> {
  const { outputs, clock, log } = deps;
  const { record, after } = found(deps, ask);
  const key: OutputKey = { instanceId: ask.instanceId, attempt: record.id };
  refuseUnknownStep(deps, key, record, ask.step);
  const { instanceId: instance, step, principal } = ask;
  log?.info({ instance, attempt: record.id, step, principal }, "output of steps is shown");
  const bell = new Doorbell(clock);
  const ring = () => bell.ring();
  const stop = outputs.listen(key, ring);
  signal.addEventListener("abort", ring, { once: true });
  const reading: Reading = { after, told: new Map() };
  try {
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      // Asked before it is read: what is said after the answer belongs to the next look.
      const isOver = !isRunning(deps, key);
      const { part, more } = nextPart(deps, key, step, reading);
      const isLast = !more && (isOver || !ask.follow);
      const isNews = isFirst || isLast || part.lines.length > 0 || part.lost > 0n;
      if (isNews) yield { ...part, ended: isLast && isOver, last: isLast };
      if (isLast) return;
      if (more) continue;
      const wasRung = await bell.wait(SIGN_OF_LIFE_MS);
      if (!wasRung)
        yield create(OutputPartSchema, { attempt: part.attempt, position: part.position });
    }
  } finally {
    stop();
    signal.removeEventListener("abort", ring);
  }
}

/** Where one reader is. */
type Reading = { after: number; readonly told: Told };

function nextPart({ outputs }: ShowDeps, key: OutputKey, step: string, reading: Reading) {
  const { after, told } = reading;
  const isWanted = (each: string) => isStepOf(step, each);
  const query = { after, isWanted, linesMax: PAGE_LINES_MAX, told };
  const { lines, lost, more } = outputs.read(key).read(query);
  reading.after = lines.at(-1)?.number ?? after;
  const part = create(OutputPartSchema, {
    attempt: BigInt(key.attempt),
    lines: lines.map(lineMessage),
    lost: BigInt(lost),
    position: `${key.attempt}.${reading.after}`,
  });
  return { part, more };
}

function lineMessage({ at, step, copy, text, cutBytes }: RingLine) {
  return { time: timestampFromMs(at), step, copy, text, cutBytes: BigInt(cutBytes) };
}

/** A step by its id, or all of a resource. */
function isStepOf(wanted: string, step: string): boolean {
  return wanted === "" || step === wanted || step.startsWith(`${wanted}/`);
}

function found(deps: ShowDeps, ask: ShowOutput) {
  if (deps.stays !== undefined) {
    const message = `the customer keeps output on the agent's host (${deps.stays})`;
    throw new Fault("PERMISSION_DENIED", "OUTPUT_STAYS_HERE", message);
  }
  const position = positionOf(ask.position);
  const after = position?.after ?? 0;
  if (ask.lastAction) {
    const restart = attempts.findRestart(deps.store, ask.instanceId);
    if (restart !== undefined) return { record: restart, after };
    const message = "nobody has asked this instance for a restart or a run of a job yet";
    throw new Fault("NOT_FOUND", "ATTEMPT_UNKNOWN", message);
  }
  const number = position?.attempt ?? Number(ask.attempt);
  const all = begun(deps.store, ask.instanceId);
  const record = number === 0 ? all[0] : all.find(({ id }) => id === number);
  if (record === undefined) throw attemptUnknown(number, all);
  return { record, after };
}

/** Newest first. */
function begun(store: Store, instanceId: string): readonly AttemptRecord[] {
  const last = attempts.find(store, instanceId);
  const all = [...(last === undefined ? [] : [last]), ...pastAttempts.list(store, instanceId)];
  return all.filter(({ state }) => state !== "HELD");
}

function isRunning({ outputs, store }: ShowDeps, key: OutputKey): boolean {
  const { instanceId, attempt } = key;
  const find = attempt === ORDERED ? attempts.findRestart : attempts.find;
  const last = find(store, instanceId);
  return outputs.isOpen(key) || (last?.id === attempt && last.phase !== "ENDED");
}

function refuseUnknownStep(
  { outputs }: ShowDeps,
  key: OutputKey,
  { steps, phase }: AttemptRecord,
  wanted: string,
): void {
  if (wanted === "") return;
  const known = new Set([...steps.map(({ id }) => id), ...outputs.read(key).steps]);
  // One that runs may still come to it.
  if (phase !== "ENDED" || [...known].some((step) => isStepOf(wanted, step))) return;
  const list = known.size === 0 ? "it has none" : `it has ${[...known].slice(0, 20).join(", ")}`;
  const message = `step: got ${shown(wanted)}; attempt ${key.attempt}: ${list}`;
  throw new Fault("NOT_FOUND", "STEP_UNKNOWN", message);
}

function attemptUnknown(number: number, all: readonly AttemptRecord[]): Fault {
  const list = all.map(({ id }) => id).join(", ");
  const kept = all.length === 0 ? "no attempt was begun here yet" : `the agent keeps ${list}`;
  const asked = number === 0 ? "" : `got ${number}; `;
  return new Fault("NOT_FOUND", "ATTEMPT_UNKNOWN", `attempt: ${asked}${kept}`);
}

function positionOf(text: string) {
  if (text === "") return undefined;
  const [, attempt, after] = POSITION.exec(text) ?? [];
  if (attempt !== undefined) return { attempt: Number(attempt), after: Number(after) };
  const message = `position: got ${shown(text)}; allowed: one that was given out`;
  throw new Fault("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", message);
}
