/** What the documents point to is there: files, headings, npm scripts, programs at the root. */
import { posix } from "node:path";
import type { Problem, TextFile } from "./source.ts";

/** npm's own commands that a document may name. */
const NPM_OWN = new Set(["start", "test", "run", "install"]);

/** `paths` is every file of the checkout; folders follow from them. */
export function docProblems(
  files: readonly TextFile[],
  paths: readonly string[],
  scripts: readonly string[],
): readonly Problem[] {
  const known = new Set(paths.flatMap((path) => [path, ...foldersOf(path)]));
  const documents = new Map(files.map(({ path, text }) => [path, text]));
  return files
    .filter(({ path }) => path.endsWith(".md"))
    .flatMap((file) => [
      ...linkProblems(file, known, documents),
      ...commandProblems(file, known, new Set(scripts)),
    ]);
}

function linkProblems(
  { path, text }: TextFile,
  known: ReadonlySet<string>,
  documents: ReadonlyMap<string, string>,
): readonly Problem[] {
  const problems: Problem[] = [];
  for (const [, link = ""] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(link)) continue;
    const [file = "", anchor] = link.split("#");
    const target =
      file === ""
        ? path
        : posix.normalize(posix.join(posix.dirname(path), file)).replace(/\/$/, "");
    if (!known.has(target)) problems.push(`${path}: the link ${link} leads nowhere`);
    else if (anchor !== undefined && !anchorsOf(documents.get(target) ?? "").has(anchor)) {
      problems.push(`${path}: the link ${link} names a heading that is not there`);
    }
  }
  return problems;
}

/** `npm run x`, `npm x` and `./x` in code, be it a block or a word. */
function commandProblems(
  { path, text }: TextFile,
  known: ReadonlySet<string>,
  scripts: ReadonlySet<string>,
): readonly Problem[] {
  const problems: Problem[] = [];
  for (const code of codeOf(text)) {
    for (const [, run, name = ""] of code.matchAll(/\bnpm (run )?([a-z][a-z-]*)/g)) {
      const isThere = scripts.has(name) || (run === undefined && NPM_OWN.has(name));
      if (!isThere) problems.push(`${path}: npm ${run ?? ""}${name} is no script of package.json`);
    }
    for (const [, program = ""] of code.matchAll(/(?:^|[\s$`])\.\/([\w./-]+)/gm)) {
      if (!known.has(program)) problems.push(`${path}: ./${program} is not there`);
    }
  }
  return problems;
}

function codeOf(text: string): readonly string[] {
  return [...text.matchAll(/```[a-z]*\n([\s\S]*?)```|`([^`\n]+)`/g)].map(
    ([, block, word]) => block ?? word ?? "",
  );
}

function withoutCode(text: string): string {
  return text.replace(/```[\s\S]*?```|`[^`\n]+`/g, "");
}

/** GitHub's rule: lower case, punctuation dropped, spaces to hyphens. */
function anchorsOf(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ +(.+?) *$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

function foldersOf(path: string): readonly string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
