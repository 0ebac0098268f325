/** A copy in the words of the driver contract: where it is, and what somebody changed of it. */
import type { Generation } from "@holdfast/shared/generation.ts";
import type { DriverContext, Health, Live } from "../driver.ts";
import { fieldsOf } from "./content.ts";
import type { Copy, CopyState } from "./copies.ts";
import type { FileHost } from "./host.ts";

const PHASES: Readonly<Record<CopyState, Live["phase"]>> = {
  "in place": "running",
  "set aside": "stopping",
  begun: "starting",
  gone: "exited",
};

export function liveOf({ key, record, state, instead }: Copy): Live {
  const { handle, digest, generation, path, told, beganAt } = record;
  const messages: Readonly<Record<CopyState, string>> = {
    "in place": `in place, ${record.bytes} bytes`,
    "set aside": "set aside beside it until the commit",
    begun: "not in place yet",
    gone: `${path} ${instead === "" ? "is not there" : `cannot be written: ${instead}`}`,
  };
  return {
    ...{ key, handle, digest, startedAt: beganAt },
    generation: generationOf(generation),
    phase: PHASES[state],
    outputs: { path, digest: told },
    restarts: 0,
    message: messages[state],
  };
}

/** As liveOf, with what the driver owns of it and how that is now. Reads the file if it is not as it was written. */
export async function comparedOf(
  host: FileHost,
  copy: Copy,
  context: DriverContext,
): Promise<Live> {
  const fields = await fieldsOf(host, copy, context);
  return fields === undefined ? liveOf(copy) : { ...liveOf(copy), fields };
}

/** What was just looked at needs no second look: a file is ready once it has its name. */
export function healthOf({ phase, message }: Live): Health {
  switch (phase) {
    case "running":
    case "stopping":
    case "idle":
      return { state: "ready", alive: true, message };
    case "starting":
      return { state: "starting", alive: true, message };
    case "exited":
      return { state: "failed", alive: false, message };
  }
}

function generationOf(text: string): Generation {
  const [incarnation = "0", number = "0"] = text.split(".");
  return { incarnation: BigInt(incarnation), number: BigInt(number) };
}
