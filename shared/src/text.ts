/** Safe text for messages: foreign values are cut and escaped before a person or a terminal sees them. */

const VALUE_CHARS_MAX = 80;

/**
 * Control, format and bidirectional characters, which could change what a terminal or a reader sees, and halves of
 * surrogate pairs, which no wire carries.
 */
const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the purpose
  /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/gu;

/** `value` as it may stand in a message: escaped, and cut at 80 characters. */
export function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  const escaped = escapeControls(text);
  return cut(escaped, VALUE_CHARS_MAX);
}

/** At most `charsMax` of the text, and a mark where there was more; never half a character. */
export function cut(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text;
  const kept = text.slice(0, charsMax);
  return `${kept.isWellFormed() ? kept : kept.slice(0, -1)}…`;
}

export function escapeControls(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** A line of a log: the same, but tabs stay. */
export function escapeLine(text: string): string {
  return text.replace(UNSAFE, (c) => (c === "\t" ? c : escaped(c)));
}

function escaped(c: string): string {
  return `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
}

/** The known word that `given` was probably meant to be, if one is near. */
export function suggestion(given: string, known: readonly string[]): string | undefined {
  const near = known
    .map((word) => ({ word, distance: editDistance(given.toLowerCase(), word.toLowerCase()) }))
    .filter(({ word, distance }) => distance <= Math.max(1, Math.floor(word.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.word;
}

/** Optimal string alignment distance: a swap of neighbours counts as one edit. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(
        (rows[i - 1]?.[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (rows[i - 1]?.[j - 1] ?? 0) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? Math.max(a.length, b.length);
}
