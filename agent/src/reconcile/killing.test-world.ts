/** A journal that kills its own process at one of its writes, before or after it, and who starts such a process. */
import { spawn } from "node:child_process";
import type { Journal } from "./journal.ts";

export function killing(at: number, when: string): (inner: Journal) => Journal {
  let writes = 0;
  const guarded =
    <Args extends unknown[]>(write: (...args: Args) => void) =>
    (...args: Args): void => {
      const isHere = writes === at;
      writes += 1;
      if (isHere && when === "before") process.kill(process.pid, "SIGKILL");
      write(...args);
      if (isHere) process.kill(process.pid, "SIGKILL");
    };
  return (inner) => ({
    note: guarded(inner.note),
    rendered: guarded(inner.rendered),
    append: guarded(inner.append),
    commit: guarded(inner.commit),
    end: guarded(inner.end),
    removed: guarded(inner.removed),
  });
}

/** `file`: an agent of a test. The signal that ended it, or its exit code and what it said. */
export function runChild(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += String(chunk);
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(signal ?? `exit ${code}: ${said}`));
  });
}
