/** Before every change: a copy of the database beside it. There is none before the first release. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openDatabase, schemaOf } from "./notes/database.mjs";

const copy = join(process.env.HOLDFAST_DATA_DIR ?? ".", "notes.backup.db");
const database = openDatabase(process.env.HOLDFAST_DATA_DIR);
if (schemaOf(database) > 0) {
  if (existsSync(copy)) rmSync(copy);
  database.exec(`vacuum into '${copy.replaceAll("'", "''")}'`);
}
console.log(`schema ${schemaOf(database)} is kept`);
