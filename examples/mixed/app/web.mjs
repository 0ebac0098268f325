/** Serves the notes as JSON, with what the file of settings says and which release answers. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { openDatabase, schemaOf } from "./notes/database.mjs";

const { HOLDFAST_PORT_HTTP, HOLDFAST_RELEASE: release, SETTINGS } = process.env;
const database = openDatabase(process.env.HOLDFAST_DATA_DIR);
createServer((_, response) => {
  const { title } = JSON.parse(readFileSync(SETTINGS, "utf8"));
  const notes = database.prepare("select * from note order by id").all();
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ release, title, schema: schemaOf(database), notes }));
}).listen(Number(HOLDFAST_PORT_HTTP), "127.0.0.1");
