/**
 * Reads rows from a SQLite file, read-only. A file that is missing, locked or replaced by another is an error of
 * that read alone: the next read opens what is there then.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { decodeSourceRows, SOURCE_COLUMNS, SOURCE_TABLE } from "./decode.ts";
import type { Source } from "./model.ts";
import { BUSY_TIMEOUT_MS, fileIdentity } from "./sqlite-file.ts";

type Opened = Readonly<{ database: DatabaseSync; read: StatementSync; file: string }>;

export function sqliteSource(path: string): Source {
  let opened: Opened | undefined;
  const close = () => {
    opened?.database.close();
    opened = undefined;
  };
  return {
    async read(account, afterId, limit) {
      try {
        const file = fileIdentity(path);
        if (opened !== undefined && opened.file !== file) close();
        opened ??= open(path, file);
        return decodeSourceRows(opened.read.all(account, afterId, limit));
      } catch (error) {
        close(); // A file that came back under the same name is another one.
        throw error;
      }
    },
    async close() {
      close();
    },
  };
}

function open(path: string, file: string): Opened {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const read = database.prepare(
      `select ${SOURCE_COLUMNS} from ${SOURCE_TABLE} where account = ? and id > ? order by id limit ?`,
    );
    read.setReadBigInts(true);
    return { database, read, file };
  } catch (error) {
    database.close();
    throw error;
  }
}
