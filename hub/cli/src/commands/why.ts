/** `holdfast instance why NAME`: is what is wanted deployed, and if not, what is it waiting for? One short answer. */
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
  lines.push(["wanted", wantedText(view, asked, now)], ["serves", servingText(view)]);
  const failed = listAt(view, "status.attempt.steps").find((step) => {
    return textAt(step, "state") === "STEP_STATE_FAILED";
  });
  if (failed !== undefined && progress.state !== "done") {
    const said = [textAt(failed, "summary"), textAt(failed, "message")].filter((e) => e !== "-");
    lines.push(["step", `${textAt(failed, "id")} failed: ${said.join(": ")}`]);
  }
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

/** What gets nearer to the cause. */
function nextOf(view: ObjectView, { state }: Progress): string {
  const name = textAt(view, "metadata.name");
  const tenant = textAt(view, "metadata.tenant");
  const whose = tenant === "-" ? "" : ` --tenant ${tenant}`;
  const isAway = conditionsOf(view).some((c) => c.type === "Connected" && c.status === "False");
  if (isAway) return `holdfast get agents${whose}`;
  switch (state) {
    case "done":
      return `holdfast events --subject instance/${name}${whose}`;
    case "held":
      return `holdfast-agent why ${name} (on the agent's host: its rules are the customer's)`;
    case "waiting":
      return `holdfast wait instance ${name} --for InSync${whose}`;
    default:
      return `holdfast describe instance ${name}${whose}`;
  }
}
