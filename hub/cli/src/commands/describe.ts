/** `holdfast describe KIND NAME`: one screen that says how an object is and why. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { type Secret, SecretService } from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { type ConditionLine, conditionsOf } from "../conditions.ts";
import { DRIFT_HEADER, driftNotes, driftRows } from "../drift-lines.ts";
import { type EventView, latestEvents, whatChanged } from "../event-feed.ts";
import {
  agoText,
  at,
  durationText,
  enumWord,
  generationText,
  listAt,
  plainWord,
  textAt,
} from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import { type Kind, kindOf } from "../kinds.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { printObject } from "../output.ts";
import { SECRET_HEADER, secretRows } from "../secret-lines.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import { type Cell, painted, type Tone, tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

const EVENTS_SHOWN = 8;

export async function describe(
  terminal: Terminal,
  word: string,
  name: string,
  options: HubOptions,
): Promise<void> {
  const kind = kindOf(word);
  const form = options.output ?? "table";
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const view = await calls.get(name, hub.context.tenant);
    if (form !== "table") {
      await printObject(terminal, kind, view, form);
      return;
    }
    const sensitive = new Sensitive(hub);
    const events = await recentEvents(hub, kind, view, sensitive);
    const secrets = await secretsOf(hub, kind, view);
    terminal.out(screen(terminal, kind, await sensitive.masked(view), events, secrets));
  });
}

/** An event and what it changed, in words. */
type Happened = Readonly<{ event: EventView; change: string }>;

async function recentEvents(
  hub: HubClient,
  kind: Kind,
  view: ObjectView,
  sensitive: Sensitive,
): Promise<readonly Happened[]> {
  const subject = `${kind.name}/${textAt(view, "metadata.id")}`;
  const tenant = textAt(view, "metadata.tenant");
  const query = { subject, tenant: tenant === "-" ? undefined : tenant };
  const { events } = await latestEvents(hub, query, { count: EVENTS_SHOWN });
  return Promise.all(
    events.map(async (event) => ({ event, change: await whatChanged(event, sensitive) })),
  );
}

/** Of an instance: what its release declares and where each comes from. */
async function secretsOf(hub: HubClient, kind: Kind, view: ObjectView): Promise<readonly Secret[]> {
  if (kind.name !== "instance") return [];
  const client = hub.client(SecretService);
  const instance = textAt(view, "metadata.id");
  return (await hub.call(() => client.listSecrets({ instance }))).secrets;
}

function screen(
  terminal: Terminal,
  kind: Kind,
  view: ObjectView,
  events: readonly Happened[],
  secrets: readonly Secret[],
): string {
  const now = terminal.clock.now();
  const sections = [
    headOf(kind, view, now),
    section("Spec", specLines(view)),
    section("Status", statusLines(view)),
    section("Conditions", conditionLines(terminal, conditionsOf(view), now)),
    section("Attempt", attemptLines(terminal, view, now)),
    section("Attempts before", pastLines(terminal, view, now)),
    section("Resources", resourceLines(terminal, view)),
    section("Drift", driftSection(terminal, view)),
    section("Secrets", secretLines(terminal, secrets, now)),
    section("Outputs", fieldLines(at(view, "status.outputs"))),
    section("Events", eventLines(terminal, events, now)),
  ];
  return sections.filter((each) => each !== "").join("\n");
}

function headOf(kind: Kind, view: ObjectView, now: number): string {
  const tenant = textAt(view, "metadata.tenant");
  const first = [`${kind.name}/${textAt(view, "metadata.name")}`, textAt(view, "metadata.id")];
  if (tenant !== "-") first.splice(1, 0, `tenant ${tenant}`);
  const times = [`created ${agoText(at(view, "metadata.createTime"), now)}`];
  const deleted = at(view, "metadata.deleteTime");
  if (deleted !== undefined) {
    const finalizers = listAt(view, "metadata.finalizers").join(", ");
    times.push(
      `being deleted since ${agoText(deleted, now)}, waits for ${finalizers || "nothing"}`,
    );
  }
  const reported = at(view, "status.reportTime");
  if (reported !== undefined) times.push(`last report ${agoText(reported, now)}`);
  const wanted = at(view, "status.generation");
  if (wanted !== undefined) {
    const serving = generationText(at(view, "status.committedGeneration"));
    times.push(`generation ${generationText(wanted)} wanted, ${serving} serves`);
  }
  return `${first.join("   ")}\n  ${times.join("   ")}\n${placedLine(view)}${roomLine(kind, view)}`;
}

/** Where it was put, and why there. */
function placedLine(view: ObjectView): string {
  const placement = at(view, "status.placement");
  if (placement === undefined) return "";
  return `  placed: cell ${textAt(placement, "cell")}, ${textAt(placement, "message")}\n`;
}

/** What a cell holds, and of how much. */
function roomLine(kind: Kind, view: ObjectView): string {
  if (kind.name !== "cell") return "";
  const used = (at(view, "status.resourcesUsed") ?? {}) as JsonObject;
  const bounds = (at(view, "spec.capacity.resources") ?? {}) as JsonObject;
  const share = (taken: JsonValue | undefined, bound: JsonValue | undefined) =>
    bound === undefined ? `${taken ?? 0}` : `${taken ?? 0} of ${bound}`;
  const instances = share(at(view, "status.instances"), at(view, "spec.capacity.instancesMax"));
  const names = [...new Set([...Object.keys(bounds), ...Object.keys(used)])].sort();
  const resources = names.map((name) => `, ${name} ${share(used[name], bounds[name])}`);
  return `  holds: ${instances} instances${resources.join("")}\n`;
}

function section(title: string, text: string): string {
  return text === "" ? "" : `${title}\n${text.replace(/^(?=.)/gm, "  ")}`;
}

/** What serves is told where it is not what is wanted. */
function specLines(view: ObjectView): string {
  const serving = textAt(view, "status.committedRelease");
  const spec = { ...((at(view, "spec") ?? {}) as JsonObject) };
  if (typeof spec["release"] === "string" && serving !== "-" && serving !== spec["release"]) {
    spec["release"] = `${spec["release"]} (${serving} serves)`;
  }
  // A release repeats its whole blueprint here; -o yaml shows it.
  delete spec["blueprint"];
  return fieldLines(spec);
}

/** What stands in a section of its own or at the top. */
const TOLD_ELSEWHERE =
  /^(conditions|attempt|history|drift|resources|outputs|reportTime|committedRelease|\w*[gG]eneration)$/;

function statusLines(view: ObjectView): string {
  const status = Object.entries((at(view, "status") ?? {}) as JsonObject);
  return fieldLines(Object.fromEntries(status.filter(([name]) => !TOLD_ELSEWHERE.test(name))));
}

/** Leaves with their path. */
function fieldLines(value: JsonValue | undefined): string {
  const leaves = [...leavesOf(value, "")];
  const width = Math.max(0, ...leaves.map(([path]) => path.length));
  return leaves.map(([path, text]) => `${path.padEnd(width)}  ${text}\n`).join("");
}

function* leavesOf(value: JsonValue | undefined, path: string): Generator<[string, string]> {
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isMap) {
    if (value !== undefined && path !== "")
      yield [path, plainWord(textAt({ value } as JsonObject, "value"))];
    return;
  }
  for (const [key, child] of Object.entries(value)) {
    yield* leavesOf(child, path === "" ? key : `${path}.${key}`);
  }
}

const TONES: readonly Tone[] = ["good", "unsure", "bad"];
const MARKS = ["ok", "?", "!"] as const;

function conditionLines(
  terminal: Terminal,
  conditions: readonly ConditionLine[],
  now: number,
): string {
  if (conditions.length === 0) return "";
  const rows = [...conditions]
    .sort((a, b) => b.severity - a.severity)
    .map(({ type, status, reason, message, time, severity }): Cell[] => {
      const mark = { text: MARKS[severity], tone: TONES[severity] ?? "plain" };
      return [mark, type, status, reason, agoText(time, now), message];
    });
  return tableText(inset(terminal), ["", "TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows);
}

/** Sections stand two characters to the right. */
function inset({ hasColor, columns }: Terminal): Pick<Terminal, "hasColor" | "columns"> {
  return { hasColor, columns: columns === undefined ? undefined : columns - 2 };
}

function attemptLines(terminal: Terminal, view: ObjectView, now: number): string {
  const attempt = at(view, "status.attempt");
  if (attempt === undefined) return "";
  const state = enumWord(textAt(attempt, "state"), "ATTEMPT_STATE_");
  const isGood = ["committed", "running"].includes(state);
  const id = textAt(attempt, "id");
  const head = [
    ...(id === "-" ? [] : [`attempt ${id}`]),
    `generation ${generationText(at(attempt, "generation"))}`,
    `release ${textAt(attempt, "releaseVersion")}`,
    painted(terminal.hasColor, state, isGood ? "good" : "bad"),
    `began ${agoText(at(attempt, "startTime"), now)}`,
  ];
  const said = [textAt(attempt, "reason"), textAt(attempt, "message")].filter((e) => e !== "-");
  const steps = listAt(attempt, "steps").map((step) => {
    const ms = Number(at(step, "durationMs") ?? 0);
    const word = enumWord(textAt(step, "state"), "STEP_STATE_");
    const cell = { text: word, tone: word === "failed" ? ("bad" as const) : ("plain" as const) };
    const took = word === "planned" ? "" : durationText(ms);
    const stepClass = enumWord(textAt(step, "stepClass"), "STEP_CLASS_");
    return [textAt(step, "id"), cell, took, stepClass, textAt(step, "summary"), note(step)];
  });
  const header = ["STEP", "STATE", "TOOK", "CLASS", "SUMMARY", "MESSAGE"];
  const table = steps.length === 0 ? "" : tableText(inset(terminal), header, steps);
  return `${head.join("   ")}\n${said.length === 0 ? "" : `${said.join(": ")}\n`}${table}`;
}

/** Newest first; `-o yaml` has their steps. */
function pastLines(terminal: Terminal, view: ObjectView, now: number): string {
  const rows = listAt(view, "status.history").map((each) => {
    const state = enumWord(textAt(each, "state"), "ATTEMPT_STATE_");
    const tone: Tone = state === "committed" ? "good" : "bad";
    const failed = listAt(each, "steps").find((step) => {
      return textAt(step, "state") === "STEP_STATE_FAILED";
    });
    return [
      textAt(each, "id"),
      generationText(at(each, "generation")),
      textAt(each, "releaseVersion"),
      { text: state, tone },
      agoText(at(each, "startTime"), now),
      failed === undefined ? "" : textAt(failed, "id"),
      state === "committed" ? "" : note(each),
    ];
  });
  const header = ["ID", "GENERATION", "RELEASE", "STATE", "BEGAN", "FAILED", "MESSAGE"];
  return rows.length === 0 ? "" : tableText(inset(terminal), header, rows);
}

function note(step: JsonValue): string {
  const message = textAt(step, "message");
  return message === "-" ? "" : message;
}

function resourceLines(terminal: Terminal, view: ObjectView): string {
  const rows = listAt(view, "status.resources").map((each) => [
    textAt(each, "id"),
    textAt(each, "kind"),
    textAt(each, "phase"),
    String(at(each, "restarts") ?? 0),
    note(each),
  ]);
  const header = ["ID", "KIND", "PHASE", "RESTARTS", "MESSAGE"];
  return rows.length === 0 ? "" : tableText(inset(terminal), header, rows);
}

/** Live values beside what was applied and what is desired. */
function driftSection(terminal: Terminal, view: ObjectView): string {
  const rows = driftRows(view);
  if (rows.length === 0) return "";
  const notes = driftNotes(view).map((line) => `${line}\n`);
  return tableText(inset(terminal), DRIFT_HEADER, rows) + notes.join("");
}

function secretLines(terminal: Terminal, secrets: readonly Secret[], now: number): string {
  if (secrets.length === 0) return "";
  return tableText(inset(terminal), SECRET_HEADER, secretRows(secrets, now));
}

function eventLines(terminal: Terminal, events: readonly Happened[], now: number): string {
  const rows = events.map(({ event, change }) => {
    const reason = textAt(event, "reason");
    return [
      agoText(at(event, "time"), now),
      textAt(event, "type"),
      textAt(event, "principal"),
      reason === "-" ? "" : reason,
      change,
    ];
  });
  const header = ["WHEN", "WHAT", "WHO", "WHY", "CHANGE"];
  return rows.length === 0 ? "" : tableText(inset(terminal), header, rows);
}
