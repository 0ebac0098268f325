/** What every driver of programs says of its host: why it cannot work there, and what it refused. */
import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import { bootId, readProcess } from "./proc.ts";

/** What the host's file system says, such as a full disk, becomes a fault that names the subject. */
export async function onHost<Result>(
  subject: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof Fault || typeof code !== "string") throw error;
    const message = `${subject}: the host refused: ${causeChain(error)}`;
    throw new Fault("UNAVAILABLE", "HOST_REFUSED", message, { cause: error });
  }
}

export function whyNoProc(procDir: string): string | undefined {
  try {
    bootId(procDir);
    readProcess(procDir, 1);
    return undefined;
  } catch (error) {
    return `${procDir} cannot be read: ${asFault(error, "no such file system").message}; it needs Linux with proc mounted`;
  }
}
