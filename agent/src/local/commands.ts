/** What the agent's commands tell and ask of a running agent. Each returns what goes to stdout. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { openStoreToRead } from "../store/database.ts";
import {
  findHolder,
  isReadOnly,
  SOCKET_FILE,
  STORE_FILE,
  type StateHost,
} from "../store/state-directory.ts";
import { chosenToDestroy, destroyPrompt, keptText } from "./kept.ts";
import { type LocalReport, localReport } from "./report.ts";
import { askLocalServer, askToAct } from "./server.ts";
import { findInstance, statusText, whyText } from "./show.ts";
import { workplaceOf } from "./workplace.ts";

export type Output = "text" | "json";

/** From the running agent, or from its store when none runs. */
export async function readReport(
  stateDir: string,
  host: Pick<StateHost, "startTimeOf">,
  version: string,
): Promise<LocalReport> {
  const holder = findHolder(stateDir, host);
  const socket = join(stateDir, SOCKET_FILE);
  if (holder !== undefined && existsSync(socket)) {
    const answer = await askLocalServer(socket).catch(() => undefined);
    if (answer !== undefined) return answer;
  }
  const store = openStoreToRead(join(stateDir, STORE_FILE));
  if (store === undefined) {
    throw new Fault("NOT_FOUND", "STATE_MISSING", `${stateDir}: no agent was enrolled here`, {
      next: `holdfast-agent enroll --state ${stateDir} --token-file FILE`,
    });
  }
  try {
    const running = holder !== undefined;
    const about = { running, pid: holder?.pid, version, statuses: undefined };
    return localReport(store, { ...about, isReadOnly: isReadOnly(stateDir) });
  } finally {
    store.close();
  }
}

export function shownStatus(report: LocalReport, output: Output): string {
  return output === "json" ? asJson(report) : statusText(report);
}

export function shownWhy(report: LocalReport, instance: string, output: Output): string {
  const found = findInstance(report, instance);
  return output === "json" ? asJson(found) : whyText(report, found);
}

export function shownKept({ kept }: LocalReport, output: Output): string {
  return output === "json" ? asJson(kept) : keptText(kept);
}

export type DestroyWish = Readonly<{ instance: string; name: string; isConfirmed: boolean }>;

/** By the running agent. `ask` shows a text to a person and gives what was typed; undefined: nobody is there. */
export async function destroyHere(
  stateDir: string,
  report: LocalReport,
  { instance, name, isConfirmed }: DestroyWish,
  ask: (text: string) => Promise<string | undefined>,
): Promise<string> {
  if (!report.running) {
    const message = `${stateDir}: no agent runs; only a running one destroys`;
    const next = `holdfast-agent run --state ${stateDir}`;
    throw new Fault("FAILED_PRECONDITION", "AGENT_NOT_RUNNING", message, { next });
  }
  const chosen = chosenToDestroy(report.kept, instance, name);
  const typed = isConfirmed ? instance : await ask(destroyPrompt(chosen, instance));
  if (typed?.trim() !== instance) {
    const message = `data of ${instance} was not destroyed: ${typed === undefined ? "nobody is there to be asked; --yes says that it is meant" : "the name was not typed"}`;
    throw new Fault("CANCELLED", "NOT_CONFIRMED", message);
  }
  const answer = await askToAct(join(stateDir, SOCKET_FILE), "destroy", {
    ...{ instanceId: chosen.instanceId, name },
  });
  if (answer.state === "DONE") return `${answer.message}\n`;
  if (answer.state === "HELD")
    return `not yet: ${answer.message}; it is done when that is over, within 10 minutes\n`;
  throw new Fault("FAILED_PRECONDITION", answer.reason, answer.message, {
    next: "holdfast-agent kept",
  });
}

/** By the running agent, for the generation that is wanted now. */
export async function allowRemovalHere(
  stateDir: string,
  report: LocalReport,
  instance: string,
): Promise<string> {
  const { id: instanceId } = findInstance(report, instance);
  const asked = { instanceId, name: "" };
  const { message } = await askToAct(join(stateDir, SOCKET_FILE), "allow-removal", asked);
  return `${message}\n`;
}

export function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Where the workloads of an agent that does not run live. */
export function workplaceAt(stateDir: string): string {
  const store = openStoreToRead(join(stateDir, STORE_FILE));
  const workplace = store === undefined ? stateDir : workplaceOf(store, stateDir);
  store?.close();
  return workplace;
}
