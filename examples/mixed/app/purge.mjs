/** Removes the notes of one author for good: nothing brings them back. */
import { openDatabase } from "./notes/database.mjs";

const [author] = process.argv.slice(2);
const { changes } = openDatabase(process.env.HOLDFAST_DATA_DIR)
  .prepare("delete from note where author = ?")
  .run(author);
console.log(`removed ${changes} of ${author}`);
