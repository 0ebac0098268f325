/** What stands in a directory, for those who look whether it is there at all. */
import { readdirSync } from "node:fs";

/** Empty if there is no such folder. */
export function foldersOf(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
