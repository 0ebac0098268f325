/**
 * Image archives of a small real program, made without an engine: a static busybox, and a script that serves HTTP.
 * What it does else is said by MODE: crash (ends at once), stubborn (ignores SIGTERM), mute (never listens), never-ready
 * (answers 404), busy, leaky (prints its secret), hup (waits for SIGHUP), chatty (prints a thousand lines), garbage.
 */
import { createHash } from "node:crypto";
import { createWriteStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";

export const BUSYBOX = "/bin/busybox";
const APPLETS = [
  "sh",
  "httpd",
  "sleep",
  "cat",
  "env",
  "test",
  "true",
  "false",
  "id",
  "ls",
  "mkdir",
];
const APPLETS_MORE = [
  "yes",
  "head",
  "touch",
  "seq",
  "wget",
  "grep",
  "dd",
  "printf",
  "nc",
  "nslookup",
];

const SERVE = `#!/bin/sh
echo "hello from $HOLDFAST_RELEASE"
case "$MODE" in
crash) echo "cannot go on" >&2; exit 3 ;;
mute) trap 'exit 0' TERM; sleep 600 & wait ;;
leaky) echo "the dsn is $(cat $HOLDFAST_SECRET_DSN_FILE)" ;;
hup) trap 'echo "told by SIGHUP, $(cat $HOLDFAST_SEATS_FILE)"' HUP ;;
chatty) seq 1 1000 ;;
busy) (while :; do :; done) & ;;
garbage) printf '\\033]52;c;aGk=\\007\\033[2J\\377\\376 end\\n'; exit 4 ;;
eater) exec dd if=/dev/zero of=/dev/null bs=900M count=1 ;;
esac
root=/www
[ "$MODE" = never-ready ] && root=/app
[ "$MODE" = stubborn ] && trap : TERM || trap 'exit 0' TERM
httpd -f -p 8080 -h $root &
while :; do wait $!; [ $? -gt 128 ] || exit 5; done
`;

/** 503 while /data/sick is there. */
const HEALTHZ = `#!/bin/sh
[ -e /data/sick ] && printf 'Status: 503 Sick\\r\\n\\r\\nsick\\n' || printf 'Status: 200 OK\\r\\n\\r\\nwell\\n'
`;
/** Cheap, for who asks all the time. */
const VERSION = `#!/bin/sh
printf 'Status: 200 OK\\r\\n\\r\\nVERSION=%s\\n' "$VERSION"
`;
const ABOUT = `#!/bin/sh
printf 'Status: 200 OK\\r\\n\\r\\n'
echo "release=$HOLDFAST_RELEASE"; env; id; cat /proc/self/status; cat /proc/mounts; ls /sys/class/net
`;

export type ImageChange = Readonly<{
  architecture?: string;
  /** Makes another image of it. */
  label?: string;
  healthCheck?: readonly string[];
  tags?: readonly string[];
  /** What the configuration says of the layer is not what the layer is. */
  isDamaged?: boolean;
  images?: number;
}>;

export async function writeImage(file: string, change: ImageChange = {}): Promise<void> {
  const layer = await layerOf();
  const described = change.isDamaged ? Buffer.concat([layer, Buffer.alloc(1)]) : layer;
  const config = Buffer.from(
    JSON.stringify({
      architecture: change.architecture ?? (process.arch === "arm64" ? "arm64" : "amd64"),
      os: "linux",
      config: {
        Entrypoint: ["/bin/sh", "/app/serve.sh"],
        Env: ["PATH=/bin"],
        Labels: { made: change.label ?? "1" },
        ...(change.healthCheck && {
          Healthcheck: { Test: change.healthCheck, Interval: 200_000_000, Retries: 2 },
        }),
      },
      rootfs: { type: "layers", diff_ids: [`sha256:${hexOf(described)}`] },
    }),
  );
  const name = `${hexOf(config)}.json`;
  const image = { Config: name, RepoTags: change.tags ?? null, Layers: ["layer.tar"] };
  const out = pack();
  out.entry({ name }, config);
  out.entry({ name: "layer.tar" }, layer);
  const images = Array.from({ length: change.images ?? 1 }, () => image);
  out.entry({ name: "manifest.json" }, JSON.stringify(images));
  out.finalize();
  await pipeline(Readable.from(out), createWriteStream(file));
}

async function layerOf(): Promise<Buffer> {
  const out = pack();
  const folder = (name: string, mode = 0o755) => out.entry({ name, type: "directory", mode });
  const program = (name: string, content: Buffer | string) => {
    out.entry({ name, mode: 0o755 }, content);
  };
  for (const name of ["bin/", "app/", "www/", "www/cgi-bin/", "tmp/", "proc/", "sys/", "dev/"]) {
    folder(name);
  }
  folder("etc/");
  program("bin/busybox", readFileSync(BUSYBOX));
  for (const name of [...APPLETS, ...APPLETS_MORE]) {
    out.entry({ name: `bin/${name}`, type: "symlink", linkname: "busybox" });
  }
  program("app/serve.sh", SERVE);
  program("www/cgi-bin/healthz", HEALTHZ);
  program("www/cgi-bin/about", ABOUT);
  program("www/cgi-bin/version", VERSION);
  out.finalize();
  return await contentOf(out);
}

async function contentOf(out: Pack): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of out) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function hexOf(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
