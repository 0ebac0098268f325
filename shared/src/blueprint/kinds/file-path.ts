/**
 * Which paths a release may name for a file. They are judged as text, before anybody opens anything: what is allowed
 * means one place, whatever stands on the host. Whether an absolute one is allowed at all the agent's host decides.
 */

/** Bytes of one name, as Linux has it (NAME_MAX). */
const NAME_BYTES_MAX = 255;
/** Of a whole path; Linux takes 4,095 with what stands before it. */
const PATH_BYTES_MAX = 1_024;
export const PATH_NAMES_MAX = 32;
/** Names that the driver gives to what it has beside a file for a while. */
export const OWN_FILE_PREFIX = ".holdfast-";
/** Trees that are the kernel's, where a file is a device or a switch. */
const KERNEL_TREES = ["proc", "sys", "dev"];

/** Why a release may not name this path; undefined if it may. */
export function filePathProblem(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES_MAX) return `${bytes} bytes are too long, at most ${PATH_BYTES_MAX}`;
  if (!path.isWellFormed()) return "half a character";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the purpose
  if (/[\u0000-\u001f\u007f\\]/.test(path)) return "has a NUL, another control character or a \\";
  const names = namesOf(path);
  const odd = names.find((name) => name === "" || name === "." || name === "..");
  if (odd === "..") return "leads out of its folder by ..";
  if (odd !== undefined) return "has an empty name or .";
  if (names.length > PATH_NAMES_MAX) return `${names.length} names deep, at most ${PATH_NAMES_MAX}`;
  if (names.some((name) => Buffer.byteLength(name) > NAME_BYTES_MAX)) {
    return `a name is longer than ${NAME_BYTES_MAX} bytes`;
  }
  const own = names.find((name) => name.startsWith(OWN_FILE_PREFIX));
  if (own !== undefined) return `names that begin with ${OWN_FILE_PREFIX} are the agent's`;
  if (isAbsolute(path) && KERNEL_TREES.includes(names[0] ?? "")) {
    return `/${names[0]} is the kernel's`;
  }
  return undefined;
}

export function isAbsolute(path: string): boolean {
  return path.startsWith("/");
}

/** The names on the way, the file's own last. */
export function namesOf(path: string): readonly string[] {
  return (isAbsolute(path) ? path.slice(1) : path).split("/");
}
