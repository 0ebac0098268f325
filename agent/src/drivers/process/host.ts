/** What the process driver has beside what every driver of programs has: how long ago it asked, what it has read. */
import type { AgentConfig } from "../../config.ts";
import { AskedCopies } from "../asked.ts";
import { type ProgramGround, type ProgramHost, programHost } from "../host-process/host.ts";
import { ReadSpecs } from "./spec.ts";

export type ProcessHost = ProgramHost &
  Readonly<{
    /** How long ago each copy was probed. */
    asked: AskedCopies;
    /** Specs that were read already. */
    specs: ReadSpecs;
  }>;

export function processHost(
  ground: ProgramGround,
  uid: number,
  config: Pick<AgentConfig, "processCgroups" | "processUsers">,
  onChange: ProcessHost["onChange"],
): ProcessHost {
  const host = programHost("process", ground, uid, config, onChange);
  return { ...host, asked: new AskedCopies(), specs: new ReadSpecs() };
}

export const DRIVER_KIND = "process";
