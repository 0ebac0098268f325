/** Every dependency has one exact version, written in one place: a package.json or the workspace's catalog. */
import { parse } from "yaml";
import type { Problem, TextFile } from "./source.ts";

const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const OWN = "workspace:*";
const FROM_CATALOG = "catalog:";
const SECTIONS = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

export function manifestProblems(files: readonly TextFile[]): readonly Problem[] {
  const workspace = files.find(({ path }) => path === "pnpm-workspace.yaml");
  const catalog: Record<string, string> = parse(workspace?.text ?? "{}").catalog ?? {};
  const loose = Object.entries(catalog).filter(([, version]) => !EXACT.test(version));
  const used = new Set<string>();
  const problems = files
    .filter(({ path }) => /(^|\/)package\.json$/.test(path))
    .flatMap(({ path, text }) =>
      dependenciesOf(text).flatMap(([name, version]) => {
        if (version === FROM_CATALOG) used.add(name);
        if (version === OWN || EXACT.test(version)) return [];
        if (version === FROM_CATALOG && catalog[name] !== undefined) return [];
        return [`${path}: ${name} is "${version}"; pin one exact version`];
      }),
    );
  return [
    ...problems,
    ...loose.map(([name, version]) => `pnpm-workspace.yaml: ${name} is "${version}"; pin one`),
    ...Object.keys(catalog)
      .filter((name) => !used.has(name))
      .map((name) => `pnpm-workspace.yaml: ${name} is in the catalog and no package uses it`),
  ];
}

function dependenciesOf(text: string): readonly [string, string][] {
  const manifest: Record<string, Record<string, string> | undefined> = JSON.parse(text);
  return SECTIONS.flatMap((section) => Object.entries(manifest[section] ?? {}));
}
