/** The commands `record` and `replay`, alike in every program that flies. The file system is handed in. */
import { Fault } from "../fault.ts";
import { unreadable } from "../settings.ts";
import type { FlightBounds } from "./recorder.ts";
import { type AnyMachine, FLIGHT_BYTES_MAX } from "./replay.ts";
import { FILE_MODE, type FileSystem, FlightRing } from "./ring.ts";
import { showReplay } from "./timeline.ts";

/** What is recorded of a program. */
export type FlightPlan = Readonly<{
  program: string;
  machines: readonly AnyMachine[];
  bounds: FlightBounds;
  /** Below the program's own directory. */
  folderIn(directory: string): string;
}>;

/**
 * Copies what was recorded last to a new file that its owner alone can read; needs no answer of the program, which may
 * run, hang or be dead. Throws NOT_FOUND `FLIGHT_MISSING`, ALREADY_EXISTS `FILE_EXISTS`.
 */
export function takeFlight(
  fs: FileSystem,
  { program, folderIn }: FlightPlan,
  directory: string,
  out: string,
): string {
  const text = new FlightRing(fs, folderIn(directory)).text();
  try {
    fs.writeFileSync(out, text, { mode: FILE_MODE, flag: "wx" });
  } catch (error) {
    const isThere = error instanceof Error && "code" in error && error.code === "EEXIST";
    if (!isThere) throw unreadable("file for the flight", out, error);
    throw new Fault("ALREADY_EXISTS", "FILE_EXISTS", `${out}: it is there already`, {
      next: "name a file that is not there yet",
    });
  }
  return `${out}: ${text.length} bytes\nnext: ${program} replay ${out}`;
}

export type ReplayCommand = Readonly<{
  file: string;
  /** Only steps of this one are shown. */
  of?: string | undefined;
  print(line: string): void;
}>;

/** The exit code: 0, or 10 where a step goes another way. Throws what `replay` throws. */
export function replayFile(
  fs: FileSystem & Readonly<{ statSync(path: string): Readonly<{ size: number }> }>,
  { machines }: FlightPlan,
  { file, of, print }: ReplayCommand,
): number {
  let text: string;
  try {
    const { size } = fs.statSync(file);
    if (size > FLIGHT_BYTES_MAX) throw tooLong(file, size);
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw unreadable("flight", file, error);
  }
  return showReplay({ fileName: file, text, machines, of, print });
}

function tooLong(file: string, size: number): Fault {
  const message = `${file}: ${size} bytes; at most ${FLIGHT_BYTES_MAX}`;
  return new Fault("INVALID_ARGUMENT", "FLIGHT_LONG", message);
}
