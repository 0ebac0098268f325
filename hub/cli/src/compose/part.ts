/** What reading one service of a Compose file needs, and how its texts are read. */
import type { ComposeNotes } from "./notes.ts";

export type ServiceContext = Readonly<{
  notes: ComposeNotes;
  archives: ReadonlyMap<string, string>;
  /** Those that services name; added to. */
  secrets: Set<string>;
  /** Declared at the top. */
  volumes: ReadonlySet<string>;
}>;

export type Fields = Readonly<Record<string, unknown>>;
/** Of one service. */
export type Part = ServiceContext &
  Readonly<{ name: string; service: Fields; at: readonly string[] }>;

/** Text as Compose means it: no variable of the shell, `$$` is one `$`. */
export function textOf(
  { notes }: Pick<Part, "notes">,
  at: readonly (string | number)[],
  value: unknown,
): string {
  const text = String(value);
  if (/(?<!\$)(?:\$\$)*\$(?:\{|[A-Za-z_])/.test(text)) {
    notes.refuse(at, "a variable of the environment; make a parameter of it");
  }
  const plain = text.replaceAll("$$", "$");
  if (plain.includes("${")) notes.refuse(at, "text with ${ would be an expression of Holdfast");
  return plain;
}
