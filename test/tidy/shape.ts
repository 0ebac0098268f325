/** The outward shape of files: their purpose, their names, their exports, and tests that all run. */
import { isEntry, isTest, lineOf, type Problem, type SourceFile, type TextFile } from "./source.ts";
import { walk } from "./walk.ts";

/** Shorter is not a purpose. */
const PURPOSE_CHARS_MIN = 15;
const BANNED_NAMES = /^(utils?|helpers?|managers?|misc|common|lib)$/;
const FILE_NAME = /^[a-z0-9]+([.-][a-z0-9]+)*$/;
const DIRECTIVE = /^\s*(@ts-|biome-|eslint-|prettier-)/;

/** How a comment opens in the files that must say what they are for. */
const OPENINGS: readonly Readonly<{ path: RegExp; comment: RegExp }>[] = [
  {
    path: /\.(ts|mts|mjs|cjs)$/,
    comment: /^(?:#![^\n]*\n)?\s*(\/\*[\s\S]*?\*\/|(?:\/\/[^\n]*\n)+)/,
  },
  { path: /^proto\/holdfast\/.*\.proto$/, comment: /^\s*((?:\/\/[^\n]*\n)+)/ },
  { path: /\.sql$/, comment: /^\s*((?:--[^\n]*\n)+)/ },
  {
    path: /(\.sh|^holdfast(-\w+)?|^scripts\/with-toolchain|^\.ci\/run)$/,
    comment: /^#![^\n]*\n((?:#[^\n]*\n)+)/,
  },
];

/** Every source file opens with a comment that says what it is for. */
export function purposeProblems(files: readonly TextFile[]): readonly Problem[] {
  return files.flatMap(({ path, text }) => {
    const opening = OPENINGS.find((each) => each.path.test(path));
    if (opening === undefined || path.startsWith("proto/gen/")) return [];
    const words = (opening.comment.exec(text)?.[1] ?? "")
      .replace(/^[\s/*#-]+|[\s/*]+$/gm, " ")
      .trim();
    if (words.length >= PURPOSE_CHARS_MIN && !DIRECTIVE.test(words)) return [];
    return [`${path}:1: no comment at the top that says what the file is for`];
  });
}

export function nameProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.flatMap(({ path }) => {
    const parts = path.replace(/(\.test)?\.(ts|mts|mjs|cjs)$/, "").split("/");
    return parts.flatMap((part) => {
      if (BANNED_NAMES.test(part)) return [`${path}: "${part}" names no concept`];
      return FILE_NAME.test(part) ? [] : [`${path}: "${part}" is not in kebab-case`];
    });
  });
}

/** Names are given where a thing is declared; tools' configuration files have no choice. */
export function defaultExportProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.flatMap((file) =>
    file.program.body.flatMap((node) => {
      const isConfig = /\.config\.ts$/.test(file.path);
      if (node.type !== "ExportDefaultDeclaration" || isConfig) return [];
      return [`${file.path}:${lineOf(file.text, node.start)}: a default export`];
    }),
  );
}

const TEST_WORDS = new Set(["it", "test", "describe", "suite"]);
const NOT_RUN = new Set(["only", "skip", "todo", "skipIf", "runIf", "fails"]);

/** A test that does not run, or that keeps others from running, is no test. */
export function skippedTestProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.flatMap((file) => {
    const problems: Problem[] = [];
    walk(file.program, (node) => {
      if (node.type !== "MemberExpression" || node.property.type !== "Identifier") return;
      if (!NOT_RUN.has(node.property.name)) return;
      let root = node.object;
      while (root.type === "MemberExpression") root = root.object;
      if (root.type !== "Identifier" || !TEST_WORDS.has(root.name)) return;
      const at = `${file.path}:${lineOf(file.text, node.start)}`;
      problems.push(`${at}: ${root.name}.${node.property.name}: every test runs`);
    });
    return isTest(file.path) ? problems : [];
  });
}

/** A note for later names its issue, or it is not written. */
export function noteProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.flatMap(({ path, text, comments }) =>
    comments.flatMap(({ value, start }) => {
      const note = /\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))/.exec(value)?.[1];
      return note === undefined ? [] : [`${path}:${lineOf(text, start)}: ${note} without an issue`];
    }),
  );
}

/** Bare errors have no code and no reason; counted for the report, not refused. */
export function bareErrorCount(files: readonly SourceFile[]): number {
  let count = 0;
  for (const { path, program } of files) {
    if (isTest(path) || isEntry(path) || path.startsWith("examples/")) continue;
    walk(program, (node) => {
      const isNew = node.type === "ThrowStatement" && node.argument.type === "NewExpression";
      if (!isNew || node.argument.type !== "NewExpression") return;
      const { callee } = node.argument;
      if (callee.type === "Identifier" && callee.name === "Error") count += 1;
    });
  }
  return count;
}

const MIGRATION = /^hub\/src\/store\/migrations\/(\d{6})_/;

/** Numbers of migrations run from 1 on without a gap: of two with one number only the first would ever run. */
export function migrationProblems(paths: readonly string[]): readonly Problem[] {
  const found = paths.filter((path) => MIGRATION.test(path)).sort();
  return found.flatMap((path, index) => {
    const number = Number(MIGRATION.exec(path)?.[1]);
    return number === index + 1
      ? []
      : [`${path}: has number ${number}; the next one is ${index + 1}`];
  });
}
