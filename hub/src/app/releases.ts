/**
 * Publishing: artefacts come in parts and are complete only with their digest; a release is taken as the
 * bytes that a release key signed, checked again, and never re-serialised; floors only rise.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ListReleasesRequest,
  type ListReleasesResponse,
  ListReleasesResponseSchema,
  type PublishReleaseRequest,
  PublishReleaseRequestSchema,
  type PublishReleaseResponse,
  PublishReleaseResponseSchema,
  type SetFloorRequest,
  SetFloorRequestSchema,
  type SetFloorResponse,
  SetFloorResponseSchema,
  type StatArtefactResponse,
  StatArtefactResponseSchema,
  type UploadArtefactRequest,
  type UploadArtefactResponse,
  UploadArtefactResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { type Blueprint, BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { FloorSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { refuseUnsound } from "@holdfast/shared/blueprint/check.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import { openEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as artefacts from "../store/artefacts.ts";
import * as floors from "../store/floors.ts";
import * as meters from "../store/meters.ts";
import { PRODUCTS, RELEASES } from "../store/object-tables.ts";
import { insert, type ObjectRow, page } from "../store/objects.ts";
import { offersOfProduct } from "../store/product-offers.ts";
import * as stored from "../store/releases.ts";
import { type Tx, withContext } from "../store/tx.ts";
import { ARTEFACT_BYTES_MAX, type Blobs } from "./blobs.ts";
import type { Call } from "./caller.ts";
import { type AppDeps, contextOf, newId } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { releaseKeys } from "./key-sets.ts";
import { RELEASE } from "./kinds/release.ts";
import { mutate, read } from "./mutation.ts";
import { reframe } from "./offer.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { lookUp, resolve } from "./reference.ts";
import { refuse } from "./refusal.ts";
import { viewOne } from "./standard.ts";

export async function statArtefact(
  deps: AppDeps,
  { caller }: Call,
  { digest }: Readonly<{ digest: string }>,
): Promise<StatArtefactResponse> {
  const blobs = await deps.blobsOf(caller.vendorId);
  return create(StatArtefactResponseSchema, await blobs.stat(digest));
}

/** Parts go to the blob store as they come; the row says what is there once it is complete. */
export async function uploadArtefact(
  deps: AppDeps,
  call: Call,
  { digest, offset, size, data }: UploadArtefactRequest,
): Promise<UploadArtefactResponse> {
  if (size > BigInt(ARTEFACT_BYTES_MAX)) {
    throw refuse(
      "size",
      `got ${size}; allowed: at most ${ARTEFACT_BYTES_MAX}`,
      "ARTEFACT_TOO_LARGE",
    );
  }
  const end = offset + BigInt(data.length);
  if (end > size) throw refuse("data", `ends at ${end}; the size is ${size}`, "SIZE_EXCEEDED");
  const blobs = await deps.blobsOf(call.caller.vendorId);
  const state = await blobs.append(digest, { offset, data, isLast: end === size });
  if (state.complete) {
    await withContext(deps.database, contextOf(call), (tx) => register(tx, digest, state.offset));
  }
  return create(UploadArtefactResponseSchema, state);
}

async function register(tx: Tx, digest: string, size: bigint): Promise<void> {
  const row = await artefacts.lock(tx, digest, size);
  if (!row.complete) {
    await artefacts.setReceived(tx, { digest, size, received: size, complete: true });
  }
}

/** Throws PERMISSION_DENIED for a signature that is not a release key's, INVALID_ARGUMENT for an unsound blueprint. */
export function publishRelease(
  deps: AppDeps,
  call: Call,
  request: PublishReleaseRequest,
): Promise<PublishReleaseResponse> {
  const { validateOnly, requestId, envelope } = request;
  const schemas = {
    requestSchema: PublishReleaseRequestSchema,
    answerSchema: PublishReleaseResponseSchema,
  };
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const { payload } = openEnvelope("blueprint", envelope, await releaseKeys(tx));
    const blueprint = blueprintIn(payload, call.caller.vendorId);
    const product = await resolve(tx, {
      kind: "product",
      table: PRODUCTS,
      text: blueprint.product,
      path: "blueprint.product",
    });
    const name = `${blueprint.product}-${blueprint.version}`;
    const present = await lookUp(tx, {
      kind: "release",
      table: RELEASES,
      text: name,
      path: "blueprint.version",
    });
    const digest = digestOf(payload);
    if (present === undefined)
      await store(deps, tx, call, { envelope, blueprint, digest, name, product });
    else if (present.fields["digest"] !== digest) throw immutable(name);
    const text = name;
    const row = await resolve(tx, { kind: "release", table: RELEASES, text, path: "release" });
    return create(PublishReleaseResponseSchema, { release: await viewOne(tx, RELEASE, row) });
  });
}

type NewRelease = Readonly<{
  envelope: Envelope | undefined;
  blueprint: Blueprint;
  digest: string;
  name: string;
  product: ObjectRow;
}>;

async function store(deps: AppDeps, tx: Tx, call: Call, release: NewRelease): Promise<void> {
  const { envelope, blueprint, digest, name, product } = release;
  await checkNumber(tx, product, blueprint);
  await checkArtefacts(await deps.blobsOf(call.caller.vendorId), tx, blueprint);
  const id = newId(deps.clock);
  await insert(tx, RELEASES, {
    id,
    tenantId: NIL_UUID,
    name,
    annotations: {},
    fields: {
      product_id: product.id,
      version: blueprint.version,
      number: blueprint.number,
      digest,
      key_ids: (envelope?.signatures ?? []).map(({ keyId }) => keyId),
      envelope: envelope === undefined ? null : toBinary(EnvelopeSchema, envelope),
    },
  });
  await artefacts.attach(tx, id, blueprint.artefacts);
  await meters.insertAll(
    tx,
    blueprint.meters.map((meter) => ({
      productId: product.id,
      name: meter.name,
      releaseNumber: blueprint.number,
      unit: meter.unit,
      kind: meter.kind,
      gap: meter.gap,
      maxRatePerSecond: meter.maxRatePerSecond,
    })),
  );
  await record(tx, actorOf(call), deps.clock.now(), {
    verb: "published",
    kind: "release",
    subject: { tenantId: NIL_UUID, id, name, revision: 1n },
    after: { product: product.name, version: blueprint.version, digest },
  });
}

function blueprintIn(payload: Uint8Array, vendorId: string): Blueprint {
  let blueprint: Blueprint;
  try {
    blueprint = fromBinary(BlueprintSchema, payload);
  } catch {
    throw refuse("envelope.payload", "it is no blueprint", "BLUEPRINT_MALFORMED");
  }
  const vendor = idOf("vendor", vendorId);
  if (blueprint.vendorId !== vendor) {
    const message = `got ${shown(blueprint.vendorId)}; this vendor is ${vendor}`;
    throw refuse("blueprint.vendor_id", message, "VENDOR_MISMATCH");
  }
  refuseUnsound(blueprint);
  return blueprint;
}

async function checkNumber(tx: Tx, product: ObjectRow, { number }: Blueprint): Promise<void> {
  const newest = await stored.newestNumber(tx, product.id);
  if (number > newest) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "RELEASE_NUMBER",
    `blueprint.number: got ${number}; the newest release of ${product.name} has ${newest}, the next one must be larger`,
  );
}

async function checkArtefacts(
  blobs: Blobs,
  tx: Tx,
  { artefacts: named }: Blueprint,
): Promise<void> {
  const digests = named.map(({ digest }) => digest);
  // The hub may have died between the last byte and its row.
  for (const digest of await artefacts.missing(tx, digests)) {
    const { complete, offset } = await blobs.stat(digest);
    if (complete) await register(tx, digest, offset);
  }
  const missing = new Set(await artefacts.missing(tx, digests));
  if (missing.size > 0) {
    const violations = named
      .filter(({ digest }) => missing.has(digest))
      .map(({ name, digest }) => ({
        path: `artefacts.${name}`,
        message: `${digest} is not complete here`,
      }));
    throw new Fault(
      "FAILED_PRECONDITION",
      "ARTEFACT_MISSING",
      `artefacts are missing: ${violations.map(({ path }) => path).join(", ")}; upload them first`,
      { violations, next: "holdfast release publish -f FILE --key FILE" },
    );
  }
  for (const { name, digest, size } of named) {
    const found = await artefacts.get(tx, digest);
    if (found?.size === size) continue;
    throw refuse(
      `artefacts.${name}.size`,
      `got ${size}; the artefact has ${found?.size}`,
      "SIZE_MISMATCH",
    );
  }
}

function immutable(name: string): Fault {
  return new Fault(
    "ALREADY_EXISTS",
    "RELEASE_IMMUTABLE",
    `release ${name}: published before with other content; a release never changes, take a new version`,
    { next: `holdfast get release ${name}` },
  );
}

export function listReleases(
  deps: AppDeps,
  call: Call,
  request: ListReleasesRequest,
): Promise<ListReleasesResponse> {
  const binding = { call, query: ["release", request.product] };
  const position = readPageToken(deps.pageKey, binding, request.pageToken);
  const [name, id] = (position ?? []) as string[];
  const limit = pageSizeOf(request.pageSize);
  return read(deps, call, async (tx) => {
    const product =
      request.product === ""
        ? undefined
        : await resolve(tx, {
            kind: "product",
            table: PRODUCTS,
            text: request.product,
            path: "product",
          });
    const rows = await page(tx, RELEASES, {
      limit,
      after: name === undefined || id === undefined ? undefined : { name, id },
      equal: product === undefined ? {} : { product_id: product.id },
    });
    const last = rows.length === limit ? rows.at(-1) : undefined;
    return create(ListReleasesResponseSchema, {
      releases: [...(await RELEASE.view(tx, rows))],
      nextPageToken:
        last === undefined ? "" : pageToken(deps.pageKey, binding, [last.name, last.id]),
    });
  });
}

/** Raises a product's floor and hands it to every cell that has an instance of the product. */
export function setFloor(
  deps: AppDeps,
  call: Call,
  request: SetFloorRequest,
): Promise<SetFloorResponse> {
  const { requestId, envelope } = request;
  const schemas = { requestSchema: SetFloorRequestSchema, answerSchema: SetFloorResponseSchema };
  return mutate(deps, { call, request, requestId, ...schemas }, async (tx) => {
    const { vendorId } = call.caller;
    const { payload } = openEnvelope("floor", envelope, await releaseKeys(tx));
    const floor = fromBinary(FloorSchema, payload);
    const vendor = idOf("vendor", vendorId);
    if (floor.vendorId !== vendor || envelope === undefined) {
      throw refuse(
        "floor.vendor_id",
        `got ${shown(floor.vendorId)}; this vendor is ${vendor}`,
        "VENDOR_MISMATCH",
      );
    }
    const text = floor.product;
    const path = "floor.product";
    const product = await resolve(tx, { kind: "product", table: PRODUCTS, text, path }, true);
    const { minReleaseNumber } = floor;
    const bytes = toBinary(EnvelopeSchema, envelope);
    await floors.raise(tx, { productId: product.id, minReleaseNumber, envelope: bytes });
    for (const { cellId, instanceId } of await offersOfProduct(tx, product.id)) {
      await reframe(deps, tx, { vendorId, cellId, instanceId }, { floor: envelope });
    }
    await record(tx, actorOf(call), deps.clock.now(), {
      verb: "floor_raised",
      kind: "product",
      subject: product,
      after: { minReleaseNumber: minReleaseNumber.toString() },
    });
    return create(SetFloorResponseSchema, { product: product.name, minReleaseNumber });
  });
}
