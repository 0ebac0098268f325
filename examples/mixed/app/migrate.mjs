/**
 * Brings the database to a schema: `migrate.mjs 2`, up or down. What it does it does in one transaction, so that it may be
 * run again after it was cut off. The schema is the output of its job.
 */
import { writeFileSync } from "node:fs";
import { openDatabase, schemaOf } from "./notes/database.mjs";

/** From the schema before it to this one, and back. */
const STEPS = {
  1: {
    up: `create table note (id integer primary key, text text not null);
      insert into note (text) values ('ada: tides at noon'), ('bob: kelp is back')`,
    down: "drop table note",
  },
  2: {
    up: `alter table note add column author text not null default '';
      update note set author = substr(text, 1, instr(text, ': ') - 1), text = substr(text, instr(text, ': ') + 2)`,
    down: "update note set text = author || ': ' || text; alter table note drop column author",
  },
};

const wanted = Number(process.argv[2]);
const database = openDatabase(process.env.HOLDFAST_DATA_DIR);
for (let schema = schemaOf(database); schema !== wanted; schema = schemaOf(database)) {
  const isUp = schema < wanted;
  const { up, down } = STEPS[isUp ? schema + 1 : schema];
  const next = isUp ? schema + 1 : schema - 1;
  database.exec(`begin immediate; ${isUp ? up : down}; pragma user_version = ${next}; commit`);
  console.log(`schema ${schema} -> ${next}`);
}
const { HOLDFAST_OUTPUTS } = process.env;
if (HOLDFAST_OUTPUTS !== undefined) {
  writeFileSync(HOLDFAST_OUTPUTS, JSON.stringify({ schema: schemaOf(database) }));
}
