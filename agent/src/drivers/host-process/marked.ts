/** Whose workloads run on this host: the directories that marks of living processes name. Changes nothing. */
import { readdirSync } from "node:fs";
import { MARK } from "./copies.ts";
import { readMarks } from "./proc.ts";

/** Absolute paths, each once. What another user runs is not seen. */
export function markedDirectories(procDir: string): readonly string[] {
  const pids = readdirSync(procDir).filter((name) => /^\d+$/.test(name));
  const found = pids.flatMap((pid) => {
    const state = readMarks(procDir, Number(pid))?.get(MARK.state);
    return state?.startsWith("/") ? [state] : [];
  });
  return [...new Set(found)];
}
