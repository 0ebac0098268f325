/** What the steps of an attempt said, for the customer on this host: read from its disk, whether an agent runs or not. */
import { join } from "node:path";
import { create, toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type OutputPart, ShowOutputSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { type OutputLine, OutputLineSchema } from "@holdfast/proto/holdfast/model/v1/output_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { StepOutputs } from "../output/outputs.ts";
import { showOutput } from "../output/show.ts";
import { openStoreToRead } from "../store/database.ts";
import { STORE_FILE } from "../store/state-directory.ts";
import { asJson, type Output } from "./commands.ts";
import type { LocalReport } from "./report.ts";
import { findInstance } from "./show.ts";
import { workplaceOf } from "./workplace.ts";

/** `attempt`: 0 for the newest one that was begun. `step`: one, or a resource for all of its; empty: all. */
export type OutputWish = Readonly<{ attempt: number; step: string; lastAction: boolean }>;

/** Throws NOT_FOUND `INSTANCE_UNKNOWN`, `ATTEMPT_UNKNOWN`, `STEP_UNKNOWN`. */
export async function shownOutput(
  stateDir: string,
  report: LocalReport,
  instance: string,
  { attempt, ...wish }: OutputWish,
  output: Output,
): Promise<string> {
  const { id: instanceId } = findInstance(report, instance);
  const store = openStoreToRead(join(stateDir, STORE_FILE));
  if (store === undefined) return "";
  try {
    const workplace = workplaceOf(store, stateDir);
    const outputs = new StepOutputs({ stateDir: workplace });
    const ask = create(ShowOutputSchema, { ...wish, instanceId, attempt: BigInt(attempt) });
    const never = new AbortController().signal;
    const parts: OutputPart[] = [];
    const deps = { store, outputs, clock: systemClock, stays: undefined };
    for await (const part of showOutput(deps, ask, never)) parts.push(part);
    return output === "json" ? asJson(viewOf(parts)) : textOf(parts);
  } finally {
    store.close();
  }
}

function viewOf(parts: readonly OutputPart[]) {
  const { attempt = 0n, ended = false } = parts.at(-1) ?? {};
  const lines = parts.flatMap((part) => part.lines).map((line) => toJson(OutputLineSchema, line));
  return { attempt: Number(attempt), lost: Number(lostOf(parts)), ended, lines };
}

function textOf(parts: readonly OutputPart[]): string {
  const lines = parts.flatMap((part) => part.lines).map(lineText);
  const lost = lostOf(parts);
  const gone = lost === 0n ? "" : `(${lost} lines are not kept any more)\n`;
  return gone + (lines.length === 0 ? "no lines\n" : lines.join(""));
}

function lineText({ time, step, text, cutBytes }: OutputLine): string {
  const at = time === undefined ? "-" : timestampDate(time).toISOString();
  const cut = cutBytes === 0n ? "" : ` … [${cutBytes} bytes cut]`;
  return `${at}  ${step}  ${text}${cut}\n`;
}

function lostOf(parts: readonly OutputPart[]): bigint {
  return parts.reduce((sum, part) => sum + part.lost, 0n);
}
