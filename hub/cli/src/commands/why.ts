/** `holdfast instance why NAME`: is what is wanted deployed, and if not, what is it waiting for? One short answer. */
import type { JsonValue } from "@bufbuild/protobuf";
import { adviceOn, adviceOnPartial } from "@holdfast/shared/advice.ts";
import { conditionsOf } from "../conditions.ts";
import { type EventView, latestEvents, whatChanged } from "../event-feed.ts";
import { agoText, at, enumWord, generationText, listAt, textAt } from "../format.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { jsonText, yamlText } from "../output.ts";
import { judgeProgress, type Progress } from "../progress.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

/** The last change that somebody asked for. */
type Asked = Readonly<{ event: EventView; change: string }> | undefined;

export async function why(terminal: Terminal, name: string, options: HubOptions): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kindOf("instance"), hub);
    const view = await calls.get(name, hub.context.tenant);
    const tenant = textAt(view, "metadata.tenant");
    const query = {
      subject: `instance/${textAt(view, "metadata.id")}`,
      tenant: tenant === "-" ? undefined : tenant,
    };
    const { events } = await latestEvents(hub, query, { count: 1, isChangesOnly: true });
    const [event] = events;
    const change = event === undefined ? "" : await whatChanged(event, new Sensitive(hub));
    const lines = answer(view, event && { event, change }, terminal.clock.now());
    const form = options.output ?? "table";
    if (form === "json") terminal.out(jsonText(Object.fromEntries(lines)));
    else if (form === "yaml") terminal.out(await yamlText(Object.fromEntries(lines)));
    else if (form === "name") terminal.out(`instance/${name}\n`);
    else terminal.out(lines.map(([word, text]) => `${word.padEnd(9)} ${text}\n`).join(""));
  });
}

type Line = readonly [word: string, text: string];

/** Pure: all that is known of the instance, as a few lines with a word each. */
export function answer(view: ObjectView, asked: Asked, now: number): readonly Line[] {
  const progress = judgeProgress(view);
  const name = textAt(view, "metadata.name");
  const lines: Line[] = [
    ["instance", `${name}  ${textAt(view, "metadata.id")}`],
    ["answer", verdictOf(view, progress)],
  ];
  if (progress.state !== "done") lines.push(["because", progress.why]);
  for (const each of listAt(view, "status.finalizers")) {
    const [waiting, reason, message] = ["name", "reason", "message"].map((f) => textAt(each, f));
    lines.push(["waits for", `${waiting}: ${reason}: ${message}`]);
  }
  lines.push(["wanted", wantedText(view, asked, now)], ["serves", servingText(view)]);
  const failed = failedStep(at(view, "status.attempt"));
  if (failed !== undefined && progress.state !== "done") {
    const said = [textAt(failed, "summary"), textAt(failed, "message")].filter((e) => e !== "-");
    lines.push(["step", `${textAt(failed, "id")} failed: ${said.join(": ")}`]);
  }
  if (progress.state !== "done") lines.push(...placeLines(view), ...pastLines(view, now));
  for (const { type, status, reason, message, time, severity } of conditionsOf(view)) {
    if (severity === 0) continue;
    const text = message === "" ? reason : `${reason}: ${message}`;
    lines.push(["not well", `${type}=${status} since ${agoText(time, now)}: ${text}`]);
  }
  return [...lines, ["next", nextOf(view, progress)]];
}

function verdictOf(view: ObjectView, { state }: Progress): string {
  if (at(view, "metadata.deleteTime") !== undefined) {
    const left = listAt(view, "metadata.finalizers").join(", ") || "nothing";
    return `it is being deleted and waits for ${left}`;
  }
  const release = textAt(view, "spec.release");
  switch (state) {
    case "done": {
      const isStopped = textAt(view, "spec.runState") === "RUN_STATE_STOPPED";
      return isStopped ? `it is stopped at ${release}, as wanted` : `${release} serves, as wanted`;
    }
    case "rolledBack":
      return `${release} failed and was rolled back`;
    case "partial":
      return `${release} failed where there was no way back`;
    case "held":
      return `${release} is held by the customer's rules`;
    case "refused":
      return `the agent refused ${release}`;
    default:
      return `${release} is not there yet`;
  }
}

function wantedText(view: ObjectView, asked: Asked, now: number): string {
  const head = `${textAt(view, "spec.release")}, generation ${generationText(at(view, "status.generation"))}`;
  if (asked === undefined) return head;
  const { event, change } = asked;
  const verb = textAt(event, "type").split(".").at(-1) ?? "";
  const who = `${verb} ${agoText(at(event, "time"), now)} by ${textAt(event, "principal")}`;
  return `${head}, ${who}${change === "" ? "" : `: ${change}`}`;
}

function servingText(view: ObjectView): string {
  const release = textAt(view, "status.committedRelease");
  if (release === "-") return "nothing yet";
  const resources = listAt(view, "status.resources").map((each) => {
    const restarts = Number(at(each, "restarts") ?? 0);
    const phase = enumWord(textAt(each, "phase"), "RESOURCE_PHASE_");
    return `${textAt(each, "id")} ${phase}${restarts === 0 ? "" : `, ${restarts} restarts`}`;
  });
  const generation = generationText(at(view, "status.committedGeneration"));
  const what = resources.length === 0 ? "" : `: ${resources.join("; ")}`;
  return `${release}, generation ${generation}${what}`;
}

function failedStep(attempt: JsonValue | undefined): JsonValue | undefined {
  const steps = attempt === undefined ? [] : listAt(attempt, "steps");
  return steps.find((step) => textAt(step, "state") === "STEP_STATE_FAILED");
}

/** After an attempt that had no way back: which resource is where. */
function placeLines(view: ObjectView): readonly Line[] {
  return listAt(view, "status.attempt.resources").map((each): Line => {
    const generation = at(each, "generation");
    const where = generation === undefined ? "not there" : generationText(generation);
    const isBetween = textAt(each, "place") === "RESOURCE_PLACE_BETWEEN";
    const said = textAt(each, "message");
    const place = isBetween ? `on its way to ${where}` : where;
    return ["resource", `${textAt(each, "id")}: ${place}${said === "-" ? "" : `: ${said}`}`];
  });
}

/** The attempts before the last one that did not commit, newest first; `describe` shows all. */
function pastLines(view: ObjectView, now: number): readonly Line[] {
  const stateOf = (attempt: JsonValue) => enumWord(textAt(attempt, "state"), "ATTEMPT_STATE_");
  const failed = listAt(view, "status.history").filter((each) => stateOf(each) !== "committed");
  return failed.map((each): Line => {
    const state = stateOf(each);
    const head = `${textAt(each, "releaseVersion")}, generation ${generationText(at(each, "generation"))}`;
    const said = [textAt(each, "reason"), textAt(each, "message")].filter((e) => e !== "-");
    const why = said.length === 0 ? "" : `: ${said.join(": ")}`;
    return ["before", `${head}, ${state} ${agoText(at(each, "endTime"), now)}${why}`];
  });
}

/** What gets nearer to the cause. */
function nextOf(view: ObjectView, progress: Progress): string {
  const { state } = progress;
  const name = textAt(view, "metadata.name");
  const tenant = textAt(view, "metadata.tenant");
  const whose = tenant === "-" ? "" : ` --tenant ${tenant}`;
  const isAway = conditionsOf(view).some((c) => c.type === "Connected" && c.status === "False");
  if (isAway) return `holdfast get agents${whose}`;
  switch (state) {
    case "partial":
      return adviceOnPartial(`${name}${whose}`);
    case "done":
      return `holdfast events --subject instance/${name}${whose}`;
    case "held":
      return `holdfast-agent why ${name} (on the agent's host: its rules are the customer's)`;
    case "waiting":
      return adviceFor(view, whose) ?? `holdfast wait instance ${name} --for InSync${whose}`;
    default:
      return adviceFor(view, whose) ?? `holdfast describe instance ${name}${whose}`;
  }
}

/** By what users feel first: it serves and is not well, or it does not serve. Nothing while it goes on by itself. */
function adviceFor(view: ObjectView, whose: string): string | undefined {
  const reasons = conditionsOf(view)
    .filter(({ type, severity }) => severity > 0 && (type === "Ready" || type === "InSync"))
    .sort((a, b) => (a.type < b.type ? -1 : 1))
    .map(({ reason }) => reason);
  const reason = reasons.find((each) => !each.startsWith("ATTEMPT_") && each !== "PENDING");
  return reason && adviceOn(reason, `${textAt(view, "metadata.name")}${whose}`);
}
