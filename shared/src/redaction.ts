/** Takes secrets out of foreign text, line by line. Pure. What is too short to be a secret would hide half of the text, and stays. */

const SECRET_CHARS_MIN = 4;

/** What is looked for: each line of each value. Longest first, so that no rest of one is left where it holds another. */
export function secretWords(values: Iterable<string>): readonly string[] {
  return [...values]
    .flatMap((value) => value.split("\n"))
    .map((line) => line.trim())
    .filter((word) => word.length >= SECRET_CHARS_MIN)
    .sort((a, b) => b.length - a.length);
}

export function redacted(line: string, words: readonly string[]): string {
  return words.reduce((text, word) => text.replaceAll(word, "[redacted]"), line);
}
