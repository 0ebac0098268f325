/** Attempts as lines for people: the last one with its steps, those before it with what became of them. Pure. */
import { generationText } from "./generation-text.ts";
import type { AttemptJson, StepJson } from "./report.ts";

/** One screen has room for so many; those that failed or wait are told rather than others. */
const STEPS_SHOWN_MAX = 12;
const PLACES: Readonly<Record<string, string>> = {
  RESOURCE_PLACE_WANTED: "at",
  RESOURCE_PLACE_BEFORE: "still at",
  RESOURCE_PLACE_BETWEEN: "on its way to",
};

export function attemptLines(attempt: AttemptJson): readonly string[] {
  const lines = [`attempt   ${headOf(attempt)}`];
  if (attempt.message) lines.push(`          ${attempt.message}`);
  for (const { id, place, generation, message } of attempt.resources ?? []) {
    const where = generation === undefined ? "not there" : generationText(generation);
    const word = generation === undefined ? "" : `${PLACES[place ?? ""] ?? "at"} `;
    lines.push(`          ${id}: ${word}${where}${message ? `: ${message}` : ""}`);
  }
  const { steps = [] } = attempt;
  const odd = steps.filter(({ state }) => wordOf(state) !== "DONE");
  const told = new Set([...odd, ...steps].slice(0, STEPS_SHOWN_MAX));
  lines.push(...steps.filter((step) => told.has(step)).map(stepLine));
  const left = steps.length - told.size + Number(attempt.stepsLeftOut ?? 0);
  if (left > 0) lines.push(`          and ${left} more steps; -o json has all`);
  return lines;
}

/** One line each, newest first. */
export function historyLines(history: readonly AttemptJson[]): readonly string[] {
  return history.map((attempt, n) => {
    const failed = attempt.steps?.find(({ state }) => wordOf(state) === "FAILED");
    const step = failed?.id === undefined ? "" : `, ${failed.id} failed`;
    const message = attempt.message ? `: ${attempt.message}` : "";
    return `${n === 0 ? "before    " : "          "}${headOf(attempt)}${step}${message}`;
  });
}

function headOf(attempt: AttemptJson): string {
  const { generation, releaseVersion, reason, startTime, endTime } = attempt;
  const state = (attempt.state ?? "").replace("ATTEMPT_STATE_", "");
  const why = reason && reason !== state ? ` ${reason}` : "";
  const took =
    startTime && endTime ? ` after ${Date.parse(endTime) - Date.parse(startTime)} ms` : "";
  const began = startTime ? `, began ${startTime}` : "";
  return `generation ${generationText(generation)}, release ${releaseVersion ?? "-"}: ${state}${why}${took}${began}`;
}

function stepLine(step: StepJson): string {
  const word = wordOf(step.state);
  const stepClass = (step.stepClass ?? "").replace("STEP_CLASS_", "").toLowerCase();
  const notes = [
    ...(stepClass === "" || stepClass === "reversible" ? [] : [stepClass]),
    ...(word === "PLANNED" ? [] : [`${step.durationMs ?? "0"} ms`]),
    ...(word === "UNDONE" && step.undo ? [`undone: ${step.undo}`] : []),
  ];
  const said = step.message ? `: ${step.message}` : "";
  const noted = notes.length === 0 ? "" : ` (${notes.join(", ")})`;
  return `          ${word.padEnd(7)} ${step.summary ?? ""}${noted}${said}`;
}

function wordOf(state: string | undefined): string {
  return (state ?? "").replace("STEP_STATE_", "");
}
