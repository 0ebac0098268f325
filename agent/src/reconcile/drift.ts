/**
 * What others changed of the resources that serve, as people are told it and as a policy answers it: told, brought
 * back, or held for a person. Pure. A value in which a secret stands, and a long one, is told as a digest.
 */
import { createHmac } from "node:crypto";
import { DriftPolicy } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { canonicalJson } from "@holdfast/shared/blueprint/rendered-digest.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { Difference, JsonValue, Step } from "../drivers/driver.ts";
import type { Hold } from "./decide.ts";

/** Told of one instance; more are counted. */
export const DIFFERENCES_MAX = 50;
/** Of a value as JSON; a longer one is told as its digest. */
export const VALUE_CHARS_MAX = 200;
/** Named in one line. */
const NAMED_MAX = 3;
/** What drifts again sooner is the same quarrel. */
export const QUARREL_MS_MAX = 600_000;
/** Between two reverts of one resource that is changed again and again. */
const REVERT_BACKOFF = { baseMs: 10_000, capMs: 3_600_000 };
const DOUBLINGS_MAX = 30;

/** One field of a resource that serves. */
export type Finding = Readonly<{
  resource: string;
  path: string;
  /** What the newest accepted generation wants it to be; undefined where that is not known before its attempt. */
  desired: JsonValue | undefined;
  applied: JsonValue;
  live: JsonValue;
  /** Somebody has accepted it as it is. */
  isAdopted: boolean;
}>;

export type DriftView = Readonly<{
  policy: DriftPolicy;
  findings: readonly Finding[];
  /** Beyond DIFFERENCES_MAX. */
  leftOut: number;
  /** What is done about it, or why nothing is; empty where the policy says all. */
  note: string;
}>;

/** Of one resource: the same again as long as nobody changes anything. */
export function differencesDigest(differences: readonly Difference[]): string {
  const content = differences.map(({ path, applied, live }) => ({ path, applied, live }));
  return digestOf(Buffer.from(canonicalJson(JSON.parse(JSON.stringify(content)))));
}

/** `secretTexts`: paths of the spec in which secrets are named. */
export function shownValue(
  value: JsonValue,
  path: string,
  secretTexts: readonly string[],
  salt: Uint8Array,
): JsonValue {
  const text = canonicalJson(JSON.parse(JSON.stringify(value)));
  // What stands below such a text is none of its words, but what a driver says of it, such as a file's mode.
  const isSecret = secretTexts.some((each) => isWithin(each, path));
  if (isSecret) return `hmac-sha256:${createHmac("sha256", salt).update(text).digest("hex")}`;
  return text.length > VALUE_CHARS_MAX ? digestOf(Buffer.from(text)) : value;
}

function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}.`) || path.startsWith(`${outer}[`);
}

/** Nothing of it is told or done where the whole view is undefined: nobody has looked yet. */
export function openFindings(view: DriftView | undefined): readonly Finding[] {
  return view?.findings.filter(({ isAdopted }) => !isAdopted) ?? [];
}

/** `settings: mode is "666", applied "640"; 2 more` */
export function driftText(findings: readonly Finding[], leftOut: number): string {
  const named = findings
    .slice(0, NAMED_MAX)
    .map(
      ({ resource, path, applied, live }) =>
        `${resource}: ${path} is ${shown(live)}, applied ${shown(applied)}`,
    );
  const more = findings.length - named.length + leftOut;
  return [...named, ...(more > 0 ? [`${more} more`] : [])].join("; ");
}

/** Why the next attempt waits. */
export function driftHold(view: DriftView | undefined): Hold | undefined {
  const open = openFindings(view);
  if (view?.policy !== DriftPolicy.HOLD || open.length === 0) return undefined;
  const what = driftText(open, view.leftOut);
  const message = `${what}; a person decides: holdfast drift revert or holdfast drift adopt`;
  return { reason: "DRIFT_HELD", message };
}

/** What is remembered of the reverts of one resource. */
export type Reverted = Readonly<{ times: number; at: number; notBefore: number }>;

export function revertedAgain(before: Reverted | undefined, now: number): Reverted {
  const isQuarrel = before !== undefined && now - before.notBefore < QUARREL_MS_MAX;
  const times = isQuarrel ? before.times + 1 : 1;
  const { baseMs, capMs } = REVERT_BACKOFF;
  const pauseMs = Math.min(capMs, baseMs * 2 ** Math.min(times - 1, DOUBLINGS_MAX));
  return { times, at: now, notBefore: now + pauseMs };
}

/** A moment rather than a time to go, so that the status does not change with every look. */
export function quarrelText(resource: string, { times, notBefore }: Reverted): string {
  const at = new Date(notBefore).toISOString();
  const count = times === 1 ? "once" : `${times} times`;
  return `${resource} was brought back ${count} and has drifted again; brought back again at ${at}`;
}

/** Steps that no repair may take by itself, however they came about. */
export function needsPerson(steps: readonly Step[]): Step | undefined {
  return steps.find((step) => step.class === "irreversible" || (step.destroys ?? []).length > 0);
}
