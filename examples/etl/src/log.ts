/** One JSON object per line. Refuses to know where the lines go. */

export type Level = "info" | "warn" | "error";
export type WriteLog = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

export function jsonLog(now: () => number, writeLine: (line: string) => void): WriteLog {
  return (level, message, fields = {}) =>
    writeLine(JSON.stringify({ time: new Date(now()).toISOString(), level, message, ...fields }));
}
