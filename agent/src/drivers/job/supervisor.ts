/**
 * What stands between the agent and a job's program, so that the end of the program is known whoever is there to see
 * it: a shell of the host with a script of ours, a few hundred KiB, that waits for one child. No word of a release is
 * ever read by it: program and arguments are its positional parameters.
 *
 *   it waits for a word of the agent      which comes once the run is written down; without it nothing has run
 *   it notes that it begins               and only then runs the program
 *   it notes the exit status              the last thing that it does
 *
 * Both notes go to a descriptor that the agent has opened with O_SYNC: one write of a few bytes, whole and durable when
 * it returns, also where the program runs as another user. Signals to the group are for the program; it outlives them.
 * What a shell says itself of a child that was killed is not the output of the job.
 */
import { closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { constants as host } from "node:os";
import { dirname, join } from "node:path";
import { syncDirectory } from "../json-file.ts";

export const SHELL = "/bin/sh";

const SCRIPT = `trap : HUP INT QUIT TERM USR1 USR2
read -r go || exit 0
echo begun >&3 || exit 0
exec 4>&2 2>/dev/null
"$@" 2>&4 3>&- 4>&- </dev/null
echo $? >&3`;

const NOTES_FILE = "notes";
const NOTES_BYTES_MAX = 64;
/** What a shell adds to the number of the signal that ended its child. */
const SIGNAL_STATUS = 128;

export type Notes = Readonly<{
  /** The program may have run. */
  isBegun: boolean;
  /** Its exit status; undefined: it runs, or was cut off. */
  status: number | undefined;
  /** Of the last note; wall clock, ms. */
  at: number;
}>;

/** The words for `launch`. */
export function supervised(file: string, args: readonly string[]) {
  return { file: SHELL, args: ["-c", SCRIPT, "holdfast-job", file, ...args] };
}

/** Empty, also where an earlier start left it; to be closed by the agent once it was handed over. */
export function openNotes(runDir: string): Readonly<{ file: number; close(): void }> {
  const { O_CREAT, O_TRUNC, O_WRONLY, O_APPEND, O_SYNC } = constants;
  const flags = O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_SYNC;
  const file = openSync(join(runDir, NOTES_FILE), flags, 0o600);
  syncDirectory(runDir);
  syncDirectory(dirname(runDir));
  return { file, close: () => closeSync(file) };
}

/** undefined: they are lost, which says nothing. */
export function readNotes(runDir: string): Notes | undefined {
  const path = join(runDir, NOTES_FILE);
  try {
    const { size, mtimeMs } = statSync(path);
    const text = size > NOTES_BYTES_MAX ? "?" : readFileSync(path, "latin1");
    const status = /^begun\n(\d{1,3})\n$/.exec(text)?.[1];
    return {
      isBegun: text !== "",
      status: status === undefined ? undefined : Number(status),
      at: Math.round(mtimeMs),
    };
  } catch {
    return undefined;
  }
}

/** `status 143, as after SIGTERM`: a shell does not say whether it was the signal or the program itself. */
export function statusText(status: number): string {
  const [name] =
    Object.entries(host.signals).find(([, number]) => number === status - SIGNAL_STATUS) ?? [];
  return name === undefined ? `status ${status}` : `status ${status}, as after ${name}`;
}
