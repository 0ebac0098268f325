/**
 * Writes the image of `tides`, a web server of a few lines, as an archive that a release carries: dist/tides.tar. No
 * engine and no network is needed for it, only a static busybox. `image.mjs [BUSYBOX]`
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const BUSYBOX = process.argv[2] ?? "/bin/busybox";
const FILE = join(import.meta.dirname, "dist/tides.tar");
const BLOCK = 512;

/** Says what TIDE says. Ends at SIGTERM, which a first process would not do by itself. */
const SERVE = `#!/bin/busybox sh
echo "$TIDE" >/www/index.html
trap 'exit 0' TERM
/bin/busybox httpd -f -p 8080 -h /www &
wait
`;

/** One entry of a tar archive. */
function entry(name, content, { type = "0", mode = 0o755 } = {}) {
  const header = Buffer.alloc(BLOCK);
  const octal = (value, width) => `${value.toString(8).padStart(width - 1, "0")}\0`;
  header.write(name, 0, 100);
  header.write(octal(mode, 8) + octal(0, 8) + octal(0, 8), 100);
  header.write(octal(content.length, 12) + octal(0, 12), 124);
  header.write(`        ${type}`, 148);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc(-content.length & (BLOCK - 1))]);
}

const archive = (...entries) => Buffer.concat([...entries, Buffer.alloc(2 * BLOCK)]);
const hexOf = (content) => createHash("sha256").update(content).digest("hex");

function busybox() {
  try {
    const content = readFileSync(BUSYBOX);
    if (!content.includes("/ld-linux") && !content.includes("/ld-musl")) return content;
    console.error(
      `error: ${BUSYBOX} is not static: it needs libraries that the image does not have`,
    );
  } catch (error) {
    console.error(`error: ${BUSYBOX} cannot be read: ${error.message}`);
  }
  console.error(
    "next: apt-get install busybox-static, or name another one: node examples/mixed/image.mjs FILE",
  );
  process.exit(1);
}

const folder = (name, mode = 0o755) => entry(name, Buffer.alloc(0), { type: "5", mode });
const layer = archive(
  ...["bin/", "app/", "proc/", "sys/", "dev/", "etc/"].map((name) => folder(name)),
  // Memory that is mounted there takes over who may write.
  folder("www/", 0o1777),
  entry("bin/busybox", busybox()),
  entry("app/serve", Buffer.from(SERVE)),
);
const config = Buffer.from(
  JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Entrypoint: ["/app/serve"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${hexOf(layer)}`] },
  }),
);
const name = `${hexOf(config)}.json`;
const manifest = [{ Config: name, RepoTags: null, Layers: ["layer.tar"] }];
mkdirSync(join(import.meta.dirname, "dist"), { recursive: true });
// Whoever publishes meanwhile reads the one before.
writeFileSync(
  `${FILE}.new`,
  archive(
    entry(name, config),
    entry("layer.tar", layer),
    entry("manifest.json", Buffer.from(JSON.stringify(manifest))),
  ),
);
renameSync(`${FILE}.new`, FILE);
console.log("examples/mixed/dist/tides.tar is written");
