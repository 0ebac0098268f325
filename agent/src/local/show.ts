/** The report as people read it: a table of instances, and one screen that says why one is as it is. Pure. */

import { adviceOn, adviceOnPartial } from "@holdfast/shared/advice.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import { generationText } from "./generation-text.ts";
import type { LocalInstance, LocalReport, StatusJson } from "./report.ts";
import { attemptLines, historyLines } from "./show-attempt.ts";
import { driftLines } from "./show-drift.ts";

export function statusText(report: LocalReport): string {
  const lines = [
    `agent    ${report.agent || "not enrolled"} (version ${report.version})`,
    `cell     ${report.cell || "none"}`,
    ...(report.fingerprint === "" ? [] : [`identity ${report.fingerprint}`]),
    report.running
      ? `process  running, pid ${report.pid}`
      : "process  not running: this is what the store says",
    `link     ${linkText(report)}`,
    ...fencedLines(report),
    ...frozenLines(report),
    ...(report.damaged === "" ? [] : [`store    STORE_DAMAGED: set aside as ${report.damaged}`]),
    ...unwritableLines(report),
    "",
    ...table(report.instances),
  ];
  return asText(lines);
}

/** What was written last is of an agent that ran; without one there is no link. */
function linkText({ link, running }: LocalReport): string {
  if (link === undefined) return "never connected";
  if (!running) return "down: no agent runs";
  return `${link.up ? "up" : "down"} since ${link.since}${link.message === "" ? "" : `: ${link.message}`}`;
}

function fencedLines({ fencedSince, usageWaiting }: LocalReport): readonly string[] {
  if (fencedSince === "") return [];
  const left =
    usageWaiting === "0"
      ? "all usage is delivered; this agent can be removed"
      : `${usageWaiting} records of usage are still to be delivered`;
  return [
    `fenced   AGENT_FENCED since ${fencedSince}: another agent has taken over this cell`,
    `         nothing is started, stopped or changed here any more; ${left}`,
  ];
}

function unwritableLines({ unwritable }: LocalReport): readonly string[] {
  if (unwritable === "") return [];
  return [`store    ${unwritable}: the disk takes no writes; workloads go on, nothing can change`];
}

function unwritableNext(reason: string): string {
  if (reason === "STORE_FULL") {
    return `nothing can change (${reason}): free space on the disk of the state directory; the agent then goes on by itself`;
  }
  return `nothing can change (${reason}): make the disk of the state directory writable, then start the agent anew`;
}

/** Once another agent has taken over, that is what counts. */
function frozenLines({ frozenSince, fencedSince }: LocalReport): readonly string[] {
  if (frozenSince === "" || fencedSince !== "") return [];
  return [
    `frozen   IDENTITY_FROZEN since ${frozenSince}: two processes have this agent's identity`,
    "         nothing new is begun here, workloads go on; next: holdfast cell takeover CELL",
  ];
}

function table(instances: readonly LocalInstance[]): readonly string[] {
  if (instances.length === 0) return ["no instances"];
  const rows = instances.map(({ id, name, wanted, status }) => [
    name || id,
    wanted?.release ?? "-",
    status.committedReleaseVersion || "-",
    conditionOf(status, "Ready"),
    conditionOf(status, "InSync"),
    conditionOf(status, "Healthy"),
  ]);
  const head = ["INSTANCE", "WANTED", "SERVES", "READY", "INSYNC", "HEALTHY"];
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)),
  );
  return [head, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

const CONDITION_WORDS: Readonly<Record<string, string>> = {
  CONDITION_STATUS_TRUE: "True",
  CONDITION_STATUS_FALSE: "False",
};

function wordOf(status: string | undefined): string {
  return CONDITION_WORDS[status ?? ""] ?? "Unknown";
}

function conditionOf(status: StatusJson, type: string): string {
  const found = status.conditions?.find((each) => each.type === type);
  const word = wordOf(found?.status);
  return word === "False" && found?.reason ? `${word} ${found.reason}` : word;
}

/** Throws NOT_FOUND `INSTANCE_UNKNOWN`. `wanted` is an id or a name. */
export function findInstance(report: LocalReport, wanted: string): LocalInstance {
  const found = report.instances.find(({ id, name }) => id === wanted || name === wanted);
  if (found !== undefined) return found;
  throw new Fault("NOT_FOUND", "INSTANCE_UNKNOWN", `no instance ${wanted} on this agent`, {
    next: "holdfast-agent status",
  });
}

/** What is wanted, what serves, the last attempt, the conditions, and what happens next. */
export function whyText(report: LocalReport, { id, name, wanted, status }: LocalInstance): string {
  const { attempt, history = [], resources = [] } = status;
  const lines = [
    `instance  ${name || "(no name)"}  ${id}`,
    wanted === undefined
      ? "wanted    nothing is assigned"
      : `wanted    generation ${wanted.generation}, release ${wanted.release}, accepted ${wanted.acceptedAt}`,
    status.committedGeneration === undefined
      ? "serves    nothing yet"
      : `serves    generation ${generationText(status.committedGeneration)}, release ${status.committedReleaseVersion ?? "-"}`,
    ...resources.map(
      (each) =>
        `          ${each.id} (${each.kind}): ${each.phase}, ${each.restarts ?? 0} restarts${each.message ? `: ${each.message}` : ""}`,
    ),
  ];
  if (attempt !== undefined) lines.push(...attemptLines(attempt));
  for (const [n, each] of (status.conditions ?? []).entries()) {
    const head = n === 0 ? "is        " : "          ";
    lines.push(
      `${head}${`${each.type}=${wordOf(each.status)}`.padEnd(16)} ${each.reason}: ${each.message} (since ${each.lastTransitionTime})`,
    );
  }
  lines.push(...driftLines(status.drift ?? {}));
  for (const [n, { name, reason, message }] of (status.finalizers ?? []).entries()) {
    lines.push(`${n === 0 ? "removal   " : "          "}waits for ${name}: ${reason}: ${message}`);
  }
  lines.push(...historyLines(history));
  lines.push(`next      ${nextOf(report, name || id, status)}`);
  return asText(lines);
}

function nextOf(report: LocalReport, name: string, status: StatusJson): string {
  if (report.fencedSince !== "") {
    return "nothing here (AGENT_FENCED): ask the agent that has taken over; holdfast get agents shows which";
  }
  if (report.frozenSince !== "") {
    return "nothing new here (IDENTITY_FROZEN): end the copy, then holdfast cell takeover CELL and enroll --takeover";
  }
  if (report.unwritable !== "") return unwritableNext(report.unwritable);
  if (!report.running) return "start the agent: holdfast-agent run";
  const conditionOf = (type: string) => status.conditions?.find((each) => each.type === type);
  const inSync = conditionOf("InSync");
  if (inSync === undefined || wordOf(inSync.status) === "True") {
    const ready = conditionOf("Ready");
    const isWell = ready === undefined || wordOf(ready.status) === "True";
    return (isWell ? undefined : adviceOn(ready.reason ?? "", name)) ?? "nothing: it is as wanted";
  }
  if (status.attempt?.state === "ATTEMPT_STATE_PARTIAL") return adviceOnPartial(name);
  const isOffline = report.link?.up === false && inSync.reason === "PENDING";
  const advice = adviceOn(isOffline ? "LINK_DOWN" : (inSync.reason ?? ""), name);
  return advice ?? "it is held: the vendor sends a newer generation, or asks for a retry";
}

function asText(lines: readonly string[]): string {
  return lines.map((line) => `${escapeControls(line)}\n`).join("");
}
