/** The use cases behind the link, put together as the port that the link calls. */
import { fromBinary } from "@bufbuild/protobuf";
import type { Opened } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { AgentSession, LinkHub, News, OfferPage, SecretName } from "../../link/port.ts";
import * as artefacts from "../../store/artefacts.ts";
import * as secrets from "../../store/instance-secrets.ts";
import * as releases from "../../store/releases.ts";
import { readWithContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { type Kept, told } from "../telemetry/take.ts";
import { type AdmitQuestion, admit, contextOfAgent, left, mismatched } from "./admission.ts";
import { Batcher } from "./batcher.ts";
import { actionEnded, actionsDue } from "./orders.ts";
import { type StatusQuestion, statusesReported } from "./status-report.ts";
import { ingest, type OpenQuestion, openStreams, type UsageTaken } from "./usage.ts";
import {
  type DifferingQuestion,
  differing,
  freshnessNotes,
  type NewsQuestion,
  newsFor,
} from "./wishes.ts";

/** What agents ask that is answered for many at once. */
export const BATCHED = ["admission", "offers", "note", "news", "status", "opening", "end"] as const;
export type Batched = (typeof BATCHED)[number];

export type LinkHubWatch = Readonly<{
  /** How many questions of a kind went together. */
  batched(kind: Batched, size: number): void;
  /** How a batch of usage was answered. */
  usageTaken(counts: UsageTaken): void;
  /** Telemetry that is kept. */
  kept?: Kept | undefined;
}>;

const UNWATCHED: LinkHubWatch = { batched: () => undefined, usageTaken: () => undefined };

export function linkHub(deps: AppDeps, watch: LinkHubWatch = UNWATCHED): LinkHub {
  const offers = new Batcher<DifferingQuestion, OfferPage>(
    (vendorId, questions) => differing(deps, vendorId, questions),
    deps.clock,
    { asked: (size) => watch.batched("offers", size) },
  );
  const notes = new Batcher<AgentSession, Uint8Array>(
    (vendorId, sessions) => freshnessNotes(deps, vendorId, sessions),
    deps.clock,
    { asked: (size) => watch.batched("note", size) },
  );
  // In the order in which they come: a stream that was given up must not end the one that came after it.
  const admissions = new Batcher<AdmitQuestion, AgentSession>(
    (vendorId, questions) => admit(deps, vendorId, questions),
    deps.clock,
    { inFlightMax: 1, asked: (size) => watch.batched("admission", size) },
  );
  const news = new Batcher<NewsQuestion, News>(
    (vendorId, questions) => newsFor(deps, vendorId, questions),
    deps.clock,
    { asked: (size) => watch.batched("news", size) },
  );
  const reports = new Batcher<StatusQuestion, true>(
    (vendorId, questions) => statusesReported(deps, vendorId, questions),
    deps.clock,
    { asked: (size) => watch.batched("status", size) },
  );
  const openings = new Batcher<OpenQuestion, readonly Opened[]>(
    (vendorId, questions) => openStreams(deps, vendorId, questions),
    deps.clock,
    { asked: (size) => watch.batched("opening", size) },
  );
  const ends = new Batcher<AgentSession, true>(
    (vendorId, sessions) => left(deps, vendorId, sessions),
    deps.clock,
    { inFlightMax: 1, asked: (size) => watch.batched("end", size) },
  );
  return {
    incarnation: deps.incarnation,
    admit: (principal, hello) => admissions.ask(principal.vendorId, { principal, hello }),
    mismatched: (principal, claimed) => mismatched(deps, principal, claimed),
    async left(session) {
      await ends.ask(session.vendorId, session);
    },
    differing: (session, held, max) => offers.ask(session.vendorId, { session, held, max }),
    freshness: (session) => notes.ask(session.vendorId, session),
    newsFor: (session, hello) => news.ask(session.vendorId, { session, hello }),
    async statusReported(session, report) {
      await reports.ask(session.vendorId, { session, report });
    },
    actionsDue: (session, max) => actionsDue(deps, session, max),
    actionEnded: (session, result) => actionEnded(deps, session, result),
    async rehearsed(session, rehearsal) {
      if (!deps.rehearsals.answered(session, rehearsal)) throw unasked(rehearsal.id);
    },
    outputTold: (session, answer) => deps.outputViews.answered(session, answer),
    openStream: (session, open) => openings.ask(session.vendorId, { session, open }),
    ingest: (session, batch) => ingest(deps, session, batch, (counts) => watch.usageTaken(counts)),
    told: (session, telemetry) => told(deps, session, telemetry, watch.kept),
    release: (session, digest) => release(deps, session, digest),
    artefact: (session, digest, offset) => artefact(deps, session, digest, offset),
    secret: (session, named) => secret(deps, session, named),
    onCellChanged: (ring) => deps.cellBells.listen(ring),
    onAction: (ring) => deps.actionBells.listen(ring),
    onRehearsal: (send) => deps.rehearsals.attach(send),
    onShowOutput: (send) => deps.outputViews.attach(send),
    onExpelled: (listener) => deps.outcasts.listen(listener),
  };
}

/** Only releases that an assignment of the cell names, or an open rehearsal: others do not exist for it. */
async function release(deps: AppDeps, session: AgentSession, digest: string): Promise<Envelope> {
  const isRehearsed = deps.rehearsals.isAbout(session, digest);
  const bytes = await readWithContext(deps.database, contextOfAgent(session), async (tx) =>
    isRehearsed
      ? (await releases.findByDigest(tx, digest))?.envelope
      : releases.envelopeForCell(tx, session.cellId, digest),
  );
  if (bytes !== undefined) return fromBinary(EnvelopeSchema, bytes);
  throw new Fault("NOT_FOUND", "NOT_FOUND", `release ${shown(digest)}: not found`);
}

async function* artefact(
  deps: AppDeps,
  session: AgentSession,
  digest: string,
  offset: bigint,
): AsyncIterable<Uint8Array> {
  const found = await readWithContext(deps.database, contextOfAgent(session), (tx) =>
    artefacts.getForCell(tx, session.cellId, digest),
  );
  if (found === undefined) {
    throw new Fault("NOT_FOUND", "NOT_FOUND", `artefact ${shown(digest)}: not found`);
  }
  const blobs = await deps.blobsOf(session.vendorId);
  yield* blobs.read(digest, offset);
}

/** A fenced agent gets nothing more to do, so it needs no secrets either. */
async function secret(
  deps: AppDeps,
  session: AgentSession,
  { instanceId, name, version }: SecretName,
): Promise<Uint8Array> {
  const { cellId, agentId, active } = session;
  const wanted = { cellId, agentId, instanceId: uuidOf("instance", instanceId), name, version };
  const sealed = active
    ? await readWithContext(deps.database, contextOfAgent(session), (tx) =>
        secrets.sealedFor(tx, wanted),
      )
    : undefined;
  if (sealed !== undefined) return sealed;
  throw new Fault("NOT_FOUND", "NOT_FOUND", `secret ${shown(name)}: not found`);
}

/** Late, or never. */
function unasked(id: string): Fault {
  return new Fault("NOT_FOUND", "UNASKED", `rehearsal ${shown(id)}: nobody waits for it`);
}
