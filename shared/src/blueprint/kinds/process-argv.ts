/**
 * Argument lists of a process and of its exec probes: the program comes from the release's artefact or is a runtime
 * from a closed list, and no shell ever reads the words. Refuses commands as text.
 */
import { below, type Shape } from "../shape.ts";

/** Names that argv[0] may have besides a path inside the artefact; `node` is the agent's own Node. */
export const PROCESS_RUNTIMES = ["node"] as const;

export const ARGV_MAX = 256;
/** Linux takes 128 KiB for one argument (MAX_ARG_STRLEN). */
const ARGUMENT_CHARS_MAX = 32_768;
const PROGRAM_RULE = `${PROCESS_RUNTIMES.join(", ")} or a relative path inside the artefact, without . and ..`;

/** The field `argv` of this object. */
export function readArgv(shape: Shape): readonly string[] {
  const given = shape.raw("argv");
  if (typeof given === "string") {
    const rule = 'a list of arguments, such as ["node", "main.mjs"]';
    shape.add("argv", "a command as text", given, rule);
    return [];
  }
  const argv = shape
    .list("argv", ARGV_MAX, true)
    .map((each, i) => scalarText(shape, below("argv", i), each));
  if (shape.has("argv") && argv.length === 0) {
    shape.add("argv", "empty", "", "the program first, then its arguments");
  }
  const [program, script] = argv;
  const isRuntime = PROCESS_RUNTIMES.some((each) => each === program);
  if (program !== undefined && !isRuntime && !isInnerPath(program)) {
    shape.add("argv[0]", "the program is not part of the release", program, PROGRAM_RULE);
  }
  if (isRuntime && (script === undefined || !isInnerPath(script))) {
    const rule = "a relative path inside the artefact, without . and .., not an option";
    shape.add("argv[1]", `what ${program} runs is not part of the release`, script ?? "", rule);
  }
  return argv;
}

/** A whole-value expression keeps its type, so a rendered argument may be a number or a boolean. */
export function scalarText(shape: Shape, key: string, value: unknown): string {
  const text = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  if (typeof text !== "string") {
    shape.add(key, "not text", value, "text, a number, true or false");
    return "";
  }
  if (text.includes("\0")) shape.add(key, "has a NUL character", text, "text without NUL");
  if (text.length > ARGUMENT_CHARS_MAX) {
    shape.add(key, `${text.length} characters are too many`, "", `at most ${ARGUMENT_CHARS_MAX}`);
  }
  return text;
}

/** Whether the text names something inside a directory whatever stands in that directory. */
export function isInnerPath(text: string): boolean {
  if (text.length > 255 || !/^[A-Za-z0-9_][A-Za-z0-9_./@+-]*$/.test(text)) return false;
  return text.split("/").every((name) => name !== "" && name !== "." && name !== "..");
}
