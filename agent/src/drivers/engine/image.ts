/**
 * Sees to it that the engine has the image of a spec, and that it is the one that was meant: by the digest of its
 * configuration or of its manifest, for this engine's architecture, not beyond the customer's limit. What is loaded
 * or pulled here gets a name of ours, by which it goes again with the last container that runs it.
 */
import { Readable } from "node:stream";
import type { ImageSource } from "@holdfast/shared/blueprint/kinds/container-image.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { corrupt, readArchive, tooLarge, withoutNames } from "./archive.ts";
import type { Docker } from "./dock.ts";
import { isGone, isUsed, refusedInStream, unlessGone } from "./faults.ts";
import type { ContainerHost } from "./host.ts";

export type ReadyImage = Readonly<{
  id: string;
  /** Name under which we keep it; empty: it was there before us. */
  ownName: string;
  hasHealthCheck: boolean;
}>;

/** Until then its start may come: other resources of the attempt take their time. */
const UNUSED_MS_MAX = 3_600_000;
/** What begins so was named by an agent. */
const OWN_DOMAIN = "holdfast.local/";
const OWN_REPOSITORY = `${OWN_DOMAIN}image`;
const HELD_REPOSITORY = `${OWN_DOMAIN}held`;

/**
 * Throws INVALID_ARGUMENT `IMAGE_CORRUPT`; FAILED_PRECONDITION `IMAGE_ARCHITECTURE`, `ARTEFACT_MISSING`,
 * `SECRET_MISSING`; PERMISSION_DENIED `REGISTRY_NOT_ALLOWED`, `REGISTRY_REFUSED`; NOT_FOUND `IMAGE_MISSING`;
 * RESOURCE_EXHAUSTED `IMAGE_TOO_LARGE`, `DISK_FULL`; UNAVAILABLE `REGISTRY_UNREACHABLE`, `ENGINE_UNREACHABLE`.
 */
export async function ensureImage(
  host: ContainerHost,
  wanted: Wanted,
  source: ImageSource,
  context: DriverContext,
): Promise<ReadyImage> {
  return "artefact" in source
    ? await ensureLoaded(host, wanted, source.artefact, context)
    : await ensurePulled(host, wanted, source, context);
}

async function ensureLoaded(
  host: ContainerHost,
  wanted: Wanted,
  artefact: string,
  context: DriverContext,
): Promise<ReadyImage> {
  const file = wanted.artefacts.get(artefact);
  if (file === undefined) {
    const message = `image.artefact: ${shown(artefact)} is not on this host`;
    throw new Fault("FAILED_PRECONDITION", "ARTEFACT_MISSING", message);
  }
  const archived = await readArchive(file, host.imageBytesMax);
  await refuseForeign(host, archived.os, archived.architecture, context);
  const ownName = ownNameOf(archived.id);
  const there = await find(host, archived.id, context);
  if (there !== undefined) {
    await keep(host, there.Id, ownName, context);
    return readyOf(there, ownName);
  }
  context.say?.(`image: loading ${artefact}`);
  await host.dock.ask(
    `image of ${artefact}`,
    context.signal,
    async (docker) => {
      const progress = await docker.loadImage(Readable.from(withoutNames(file)));
      await followed(docker, progress, context);
    },
    "stream",
  );
  const loaded = await find(host, archived.id, context);
  if (loaded === undefined) throw corrupt(`the engine did not make ${archived.id} of it`);
  await keep(host, loaded.Id, ownName, context);
  return readyOf(loaded, ownName);
}

async function ensurePulled(
  host: ContainerHost,
  wanted: Wanted,
  { reference, credentials }: Extract<ImageSource, { reference: string }>,
  context: DriverContext,
): Promise<ReadyImage> {
  refuseRegistry(host.registries, reference);
  const authconfig =
    credentials === undefined ? undefined : accountOf(wanted, credentials, reference);
  const there = await find(host, reference, context);
  if (there !== undefined) {
    await refuseForeign(host, there.Os, there.Architecture, context);
    if (!there.RepoTags.some(isOwnName)) return readyOf(there, "");
    await keep(host, there.Id, ownNameOf(there.Id), context);
    return readyOf(there, ownNameOf(there.Id));
  }
  context.say?.(`image: pulling ${reference}`);
  await host.dock.ask(
    `image ${reference}`,
    context.signal,
    async (docker) => {
      const progress = await docker.pull(reference, authconfig === undefined ? {} : { authconfig });
      await followed(docker, progress, context, host.imageBytesMax);
    },
    "stream",
  );
  const pulled = await find(host, reference, context);
  if (pulled === undefined)
    throw corrupt(`the engine did not find ${reference} after it was pulled`);
  try {
    await refuseForeign(host, pulled.Os, pulled.Architecture, context);
    if (pulled.Size > host.imageBytesMax) throw tooLarge(pulled.Size, host.imageBytesMax);
  } catch (error) {
    await remove(host, reference, context);
    throw error;
  }
  await keep(host, pulled.Id, ownNameOf(pulled.Id), context);
  return readyOf(pulled, ownNameOf(pulled.Id));
}

function isOwnName(name: string): boolean {
  return name.startsWith(OWN_DOMAIN);
}

function ownNameOf(id: string): string {
  return `${OWN_REPOSITORY}:${id.slice("sha256:".length)}`;
}

function readyOf(image: Docker.ImageInspectInfo, ownName: string): ReadyImage {
  const test = (image.Config as { Healthcheck?: { Test?: readonly string[] } }).Healthcheck?.Test;
  const hasHealthCheck = test !== undefined && test.length > 0 && test[0] !== "NONE";
  return { id: image.Id, ownName, hasHealthCheck };
}

async function find(
  { dock }: ContainerHost,
  name: string,
  { signal }: DriverContext,
): Promise<Docker.ImageInspectInfo | undefined> {
  return await unlessGone(
    dock.ask(`image ${name}`, signal, (docker) => docker.getImage(name).inspect()),
  );
}

/** So that nobody's clean-up of images without a name takes it. */
async function keep(
  { dock }: ContainerHost,
  image: string,
  name: string,
  { signal }: DriverContext,
): Promise<void> {
  const [repo = "", tag = ""] = name.split(":");
  await dock.ask(`image ${image}`, signal, (docker) => docker.getImage(image).tag({ repo, tag }));
}

/** Takes an image of ours away once no container runs it; what others have named stays. Gone is success. */
export async function releaseImage(
  host: ContainerHost,
  ownName: string,
  context: DriverContext,
): Promise<void> {
  if (!isOwnName(ownName)) return;
  const image = await find(host, ownName, context);
  if (image === undefined || (await isRun(host, image.Id, context))) return;
  const isOursAlone = image.RepoTags.every((name) => name === ownName);
  // A digest that somebody else has pulled too cannot be told from ours, but comes with a name of theirs.
  const names = isOursAlone ? [...image.RepoDigests, ownName] : [ownName];
  for (const name of names) await remove(host, name, context);
}

/** Takes away what was loaded for starts that never came, such as of an attempt that had no room. `used`: names of ours. */
export async function pruneImages(
  host: ContainerHost,
  used: ReadonlySet<string>,
  context: DriverContext,
): Promise<void> {
  const filters = JSON.stringify({ reference: [OWN_REPOSITORY] });
  const images = await host.dock.ask("images", context.signal, (docker) =>
    docker.listImages({ filters }),
  );
  for (const { Id, RepoTags } of images) {
    const ownName = ownNameOf(Id);
    if (used.has(ownName) || !RepoTags?.includes(ownName)) continue;
    const taggedAt = taggedAtOf(await find(host, ownName, context));
    if (context.clock.now() - taggedAt > UNUSED_MS_MAX) {
      await releaseImage(host, ownName, context);
    }
  }
}

/** Wall clock, ms; where the engine does not say, it was just now. */
function taggedAtOf(image: Docker.ImageInspectInfo | undefined): number {
  const { Metadata } = (image ?? {}) as { Metadata?: { LastTagTime?: string } };
  const at = Date.parse(Metadata?.LastTagTime ?? "");
  return Number.isNaN(at) ? Number.POSITIVE_INFINITY : at;
}

/** Keeps an image that we brought here also while no container runs it, for whoever has this name. */
export async function holdImage(
  host: ContainerHost,
  ownName: string,
  holder: string,
  context: DriverContext,
): Promise<void> {
  if (!isOwnName(ownName)) return;
  await keep(host, ownName, `${HELD_REPOSITORY}:${holder}`, context);
}

/** `holder`: a name, or what the names of several begin with. */
export async function letGoOfImages(
  host: ContainerHost,
  holder: string,
  context: DriverContext,
): Promise<void> {
  const images = await host.dock.ask("images", context.signal, (docker) => docker.listImages());
  for (const { Id, RepoTags } of images) {
    // The engine has null where there is no name.
    const held = ((RepoTags ?? []) as readonly string[]).filter((name) =>
      name.startsWith(`${HELD_REPOSITORY}:${holder}`),
    );
    for (const name of held) await releaseImage(host, name, context);
    if (held.length > 0) await releaseImage(host, ownNameOf(Id), context);
  }
}

async function isRun(
  { dock }: ContainerHost,
  id: string,
  { signal }: DriverContext,
): Promise<boolean> {
  const filters = { ancestor: [id] };
  const containers = await dock.ask(`image ${id}`, signal, (docker) =>
    docker.listContainers({ all: true, filters }),
  );
  return containers.length > 0;
}

async function remove(
  { dock }: ContainerHost,
  name: string,
  { signal }: DriverContext,
): Promise<void> {
  try {
    await dock.ask(`image ${name}`, signal, (docker) => docker.getImage(name).remove());
  } catch (error) {
    if (!isGone(error) && !isUsed(error)) throw error;
  }
}

async function refuseForeign(
  { dock }: ContainerHost,
  os: string,
  architecture: string,
  { signal }: DriverContext,
): Promise<void> {
  const { Os, Arch } = await dock.ask("version", signal, (docker) => docker.version());
  if (os === Os && architecture === Arch) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "IMAGE_ARCHITECTURE",
    `image: made for ${shown(`${os}/${architecture}`)}; this engine runs ${Os}/${Arch}`,
    { next: `publish a release with an image for ${Os}/${Arch}` },
  );
}

/** `allowed`: hosts, or hosts with the beginning of a repository's path. */
export function refuseRegistry(allowed: readonly string[], reference: string): void {
  const [repository = ""] = reference.split("@");
  if (allowed.some((each) => repository === each || repository.startsWith(`${each}/`))) return;
  const rule = allowed.length === 0 ? "no registry" : allowed.join(", ");
  const message = `image.reference: ${shown(repository)}; container_registries allows ${rule}`;
  throw new Fault("PERMISSION_DENIED", "REGISTRY_NOT_ALLOWED", message);
}

function accountOf(wanted: Wanted, secret: string, reference: string) {
  const value = wanted.secrets.get(secret)?.trim();
  if (value === undefined) {
    const message = `image.credentials: the secret ${shown(secret)} is not on this host`;
    throw new Fault("FAILED_PRECONDITION", "SECRET_MISSING", message);
  }
  const colon = value.indexOf(":");
  if (colon < 1) {
    const message = `image.credentials: the secret ${shown(secret)} is not of the form user:password`;
    throw new Fault("FAILED_PRECONDITION", "REGISTRY_CREDENTIALS", message);
  }
  const [serveraddress = ""] = reference.split("/");
  return { username: value.slice(0, colon), password: value.slice(colon + 1), serveraddress };
}

type Progress = Readonly<{
  id?: string;
  status?: string;
  error?: string;
  progressDetail?: Readonly<{ current?: number; total?: number }>;
}>;

/** Between two lines of how far it is. */
const PROGRESS_MS = 1_000;
const MIB = 1_048_576;

/** To the end of what the engine does; given up where its layers add up to more than is allowed. */
function followed(
  docker: Docker,
  stream: NodeJS.ReadableStream,
  { clock, say }: DriverContext,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<void> {
  const totals = new Map<string, number>();
  const done = new Map<string, number>();
  let saidAt = clock.monotonic();
  const tell = () => {
    saidAt = clock.monotonic();
    say?.(`image: ${mib(done)} of ${mib(totals)} MiB in ${totals.size} layers`);
  };
  return new Promise((resolve, reject) => {
    const giveUp = (error: Error) => {
      (stream as NodeJS.ReadableStream & { destroy(): void }).destroy();
      reject(error);
    };
    docker.modem.followProgress(
      stream,
      (error) => (error ? reject(refusedInStream("image", error.message)) : resolve()),
      ({ id = "", status = "", error, progressDetail }: Progress) => {
        if (error !== undefined) return giveUp(refusedInStream("image", error));
        const { current, total } = progressDetail ?? {};
        if (total !== undefined) totals.set(id, Math.max(total, totals.get(id) ?? 0));
        if (current !== undefined) done.set(id, Math.max(current, done.get(id) ?? 0));
        if (id === "" && status !== "") say?.(`image: ${status}`);
        else if (clock.monotonic() - saidAt >= PROGRESS_MS) tell();
        if (bytesOf(totals) > bytesMax) giveUp(tooLarge(bytesOf(totals), bytesMax));
      },
    );
  });
}

function bytesOf(layers: ReadonlyMap<string, number>): number {
  return [...layers.values()].reduce((sum, each) => sum + each, 0);
}

function mib(layers: ReadonlyMap<string, number>): string {
  return (bytesOf(layers) / MIB).toFixed(1);
}
