/** The one database of an instance: a SQLite file in its data directory. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export function openDatabase(folder = ".") {
  return new DatabaseSync(join(folder, "notes.db"), { timeout: 5_000 });
}

export function schemaOf(database) {
  return database.prepare("pragma user_version").get().user_version;
}
