/** The part of a terminal that the simulator's use of the command line's modules needs: nobody sits at it. */
import { randomUUID } from "node:crypto";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";

export type TerminalHost = Pick<
  Terminal,
  "env" | "workingDirectory" | "homeDirectory" | "out" | "err" | "signal" | "random"
>;

export function simTerminal(host: TerminalHost): Terminal {
  const nobody = () => {
    const message = "the simulator reads nothing from its input here";
    return Promise.reject(new Fault("FAILED_PRECONDITION", "NOT_INTERACTIVE", message));
  };
  return {
    ...host,
    readStdin: nobody,
    ask: nobody,
    isInteractive: false,
    hasColor: false,
    columns: undefined,
    clock: systemClock,
    randomUuid: randomUUID,
  };
}
