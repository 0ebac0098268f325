/**
 * Transcripts in documents: which commands they show, what those print, and what of it may differ from one
 * run to the next. Only ids, times, ports and the sizes of other people's programs may; each has its pattern here, with its
 * name.
 */

export type Command = Readonly<{
  command: string;
  /** Everything that it prints, both streams, as in the document. */
  output: string;
}>;

/** What may differ between two runs, in the order in which it is masked. */
const MASKS: readonly Readonly<{ name: string; pattern: RegExp }>[] = [
  { name: "ID", pattern: /\b[a-z]{3}_[0-9a-f]{32}\b/g },
  { name: "ID", pattern: /\b[a-z]+-\d+\.\d+-[0-9a-f]{12}-\d+(?:[rcj]\d+)?/g },
  { name: "DIGEST", pattern: /\bsha256:[0-9a-f]{64}\b/g },
  { name: "ID", pattern: /\bpid"?[ :]\d+/g },
  { name: "TIME", pattern: /\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?/g },
  { name: "TIME", pattern: /\b\d+(\.\d+)? ?(ms|s|m|h|d)\b/g },
  { name: "PORT", pattern: /"port":\d+/g },
  { name: "SIZE", pattern: /\b\d+(\.\d+)? MiB\b/g },
  { name: "PORT", pattern: /127\.0\.0\.1:\d+/g },
];
/** What npm itself says, and what the set-up says only when it has something to do. */
const NOT_OURS = /^(npm (warn|notice)|> |set-up: )/;

/** The commands in the document's `console` blocks, in their order. */
export function commandsOf(markdown: string): readonly Command[] {
  const blocks = [...markdown.matchAll(/^```console\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, block = ""]) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const end = part.indexOf("\n");
        return { command: part.slice(0, end), output: part.slice(end + 1) };
      }),
  );
}

/** Masked, and with columns as wide as their content no more: masked content has no width. */
export function masked(output: string): string {
  const lines = output
    .split("\n")
    .filter((line) => !NOT_OURS.test(line))
    .map((line) =>
      MASKS.reduce((text, { name, pattern }) => text.replace(pattern, name), line)
        .replaceAll(/\s+/g, " ")
        .trim(),
    );
  return lines
    .join("\n")
    .replaceAll(/\n{2,}/g, "\n")
    .trim();
}
