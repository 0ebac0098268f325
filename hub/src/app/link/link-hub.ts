/** The use cases behind the link, put together as the port that the link calls. */
import { fromBinary } from "@bufbuild/protobuf";
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
import { told } from "../telemetry/take.ts";
import { type AdmitQuestion, admit, contextOfAgent, left, mismatched } from "./admission.ts";
import { Batcher } from "./batcher.ts";
import { actionEnded, actionsDue } from "./orders.ts";
import { statusReported } from "./status-report.ts";
import {
  type DifferingQuestion,
  differing,
  freshnessNotes,
  type NewsQuestion,
  newsFor,
} from "./wishes.ts";

export type UsageHub = Pick<LinkHub, "openStream" | "ingest">;

/** What agents ask that is answered for many at once. */
export const BATCHED = ["admission", "offers", "note", "news"] as const;
export type Batched = (typeof BATCHED)[number];

/** `batched` hears how many questions of a kind went together. */
export function linkHub(
  deps: AppDeps,
  usage: UsageHub,
  batched: (kind: Batched, size: number) => void = () => undefined,
): LinkHub {
  const offers = new Batcher<DifferingQuestion, OfferPage>(
    (vendorId, questions) => differing(deps, vendorId, questions),
    { asked: (size) => batched("offers", size) },
  );
  const notes = new Batcher<AgentSession, Uint8Array>(
    (vendorId, sessions) => freshnessNotes(deps, vendorId, sessions),
    { asked: (size) => batched("note", size) },
  );
  // In the order in which they come: a stream that was given up must not end the one that came after it.
  const admissions = new Batcher<AdmitQuestion, AgentSession>(
    (vendorId, questions) => admit(deps, vendorId, questions),
    { inFlightMax: 1, asked: (size) => batched("admission", size) },
  );
  const news = new Batcher<NewsQuestion, News>(
    (vendorId, questions) => newsFor(deps, vendorId, questions),
    { asked: (size) => batched("news", size) },
  );
  return {
    incarnation: deps.incarnation,
    admit: (principal, hello) => admissions.ask(principal.vendorId, { principal, hello }),
    mismatched: (principal, claimed) => mismatched(deps, principal, claimed),
    left: (session) => left(deps, session),
    differing: (session, held, max) => offers.ask(session.vendorId, { session, held, max }),
    freshness: (session) => notes.ask(session.vendorId, session),
    newsFor: (session, hello) => news.ask(session.vendorId, { session, hello }),
    statusReported: (session, report) => statusReported(deps, session, report),
    actionsDue: (session, max) => actionsDue(deps, session, max),
    actionEnded: (session, result) => actionEnded(deps, session, result),
    async rehearsed(session, rehearsal) {
      if (!deps.rehearsals.answered(session, rehearsal)) throw unasked(rehearsal.id);
    },
    openStream: (session, open) => usage.openStream(session, open),
    ingest: (session, batch) => usage.ingest(session, batch),
    told: (session, telemetry) => told(deps, session, telemetry),
    release: (session, digest) => release(deps, session, digest),
    artefact: (session, digest, offset) => artefact(deps, session, digest, offset),
    secret: (session, named) => secret(deps, session, named),
    onCellChanged: (ring) => deps.cellBells.listen(ring),
    onAction: (ring) => deps.actionBells.listen(ring),
    onRehearsal: (send) => deps.rehearsals.attach(send),
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
