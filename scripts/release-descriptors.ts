/**
 * Writes the descriptors of the wire contracts of this version to proto/released, against which every later change is
 * judged. A released file is never rewritten: raise the version in package.json first.
 * usage: npm run release-descriptors
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const target = join(root, "proto/released", `${version}.binpb`);

if (existsSync(target)) {
  console.error(`error: ${target} is there already, and a released file is never rewritten`);
  console.error("next: raise the version in package.json");
  process.exitCode = 1;
} else {
  mkdirSync(join(root, "proto/released"), { recursive: true });
  const buf = join(root, "node_modules/.bin/buf");
  execFileSync(buf, ["build", "--exclude-source-info", "-o", target], {
    cwd: root,
    stdio: "inherit",
  });
  console.log(`wrote ${target}`);
}
