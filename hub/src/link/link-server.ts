/**
 * The listener that agents connect to: mutual TLS, the three streams of LinkService, and the fan-out of
 * changes. Composes the parts of this folder; the use cases behind it come as a LinkHub.
 */
import { LinkService } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import type { Recorder } from "@holdfast/shared/flight/machine.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { BucketBounds } from "@holdfast/shared/token-bucket.ts";
import { type AgentAuthority, AgentCertificates } from "../pki/agent-certificate.ts";
import { Admission, type AdmissionBounds } from "./admission.ts";
import { certificateOf } from "./caller.ts";
import { control } from "./control.ts";
import type { ControlCall } from "./control-session.ts";
import { fetchArtefact, fetchRelease, fetchSecret } from "./fetch.ts";
import { createGrpcServer } from "./grpc-server.ts";
import { streaming, unary } from "./grpc-status.ts";
import {
  ADDRESS_HANDSHAKES_BURST_MAX,
  ADDRESS_HANDSHAKES_PER_SECOND_MAX,
  ADDRESSES_MAX,
  CERTIFICATES_MAX,
  HANDSHAKES_BURST_MAX,
  HANDSHAKES_PER_SECOND_MAX,
  LINK_TIMING,
  type LinkTiming,
} from "./limits.ts";
import { type OutputCall, tellOutput } from "./output.ts";
import type { LinkHub } from "./port.ts";
import { expelReports, type ReportCall, type ReportStream, report } from "./report.ts";
import { type ListenerTls, listenSecurely } from "./secure-listener.ts";
import { Sessions } from "./sessions.ts";
import { type LinkWatch, UNWATCHED } from "./watch.ts";

export const ADMISSION: AdmissionBounds = {
  hub: { perSecond: HANDSHAKES_PER_SECOND_MAX, burst: HANDSHAKES_BURST_MAX },
  address: { perSecond: ADDRESS_HANDSHAKES_PER_SECOND_MAX, burst: ADDRESS_HANDSHAKES_BURST_MAX },
  addressesMax: ADDRESSES_MAX,
};

/** What a setting does not name keeps its default; a burst is as long as it is by default. */
export function admissionBounds(
  hubPerSecond = HANDSHAKES_PER_SECOND_MAX,
  addressPerSecond = ADDRESS_HANDSHAKES_PER_SECOND_MAX,
): AdmissionBounds {
  const { hub, address, addressesMax } = ADMISSION;
  const scaled = (bounds: BucketBounds, perSecond: number) => {
    return { perSecond, burst: Math.ceil((bounds.burst / bounds.perSecond) * perSecond) };
  };
  return {
    hub: scaled(hub, hubPerSecond),
    address: scaled(address, addressPerSecond),
    addressesMax,
  };
}

export type ListenerDeps = Readonly<{
  host: string;
  /** 0: any free one. */
  port: number;
  clock: Clock;
  random: Random;
  log: Log;
  /** Asked at start and at reload(). */
  tls: () => ListenerTls;
  /** The agent authorities of all vendors. Asked at start, at reload() and at each call. */
  authorities: () => readonly AgentAuthority[];
  timing?: LinkTiming;
  admission?: AdmissionBounds;
  watch?: LinkWatch;
}>;

export type LinkServerDeps = ListenerDeps & Readonly<{ hub: LinkHub; recorder?: Recorder }>;

export interface LinkServer {
  readonly port: number;
  /** Agents with a control stream here. */
  readonly connected: number;
  readonly sessions: Sessions;
  /** After a vendor was added or a server certificate renewed: for new connections. */
  reload(): void;
  /**
   * Tells all agents to come back later, waits until they have gone and until each stream's end is recorded;
   * no longer than `msMax` for all of it. Connections that are left are cut in time.
   */
  stop(msMax: number): Promise<void>;
}

export async function startLinkServer(deps: LinkServerDeps): Promise<LinkServer> {
  const timing = deps.timing ?? LINK_TIMING;
  const { watch = UNWATCHED } = deps;
  const sessions = new Sessions();
  const grpc = createGrpcServer(timing, deps.clock, (excess) => watch.calmed("link", excess));
  const running = new Set<Promise<void>>();
  const stopped = new AbortController();
  const reports = new Map<string, ReportStream>();
  const outputs = new Map<OutputCall, ReportStream>();
  const serving = { sessions, reports, outputs, running, timing, stopped: stopped.signal };
  addHandlers(grpc.server, deps, serving);
  const stops = [
    deps.hub.onCellChanged((cell, fresh) => sessions.ring(cell, fresh)),
    deps.hub.onAction((cell) => sessions.activeIn(cell)?.order()),
    deps.hub.onRehearsal((cell, id, candidate) => {
      const session = sessions.activeIn(cell);
      session?.rehearse(id, candidate);
      return session !== undefined;
    }),
    deps.hub.onShowOutput((cell, show) => {
      const session = sessions.activeIn(cell);
      session?.showOutput(show);
      return session !== undefined;
    }),
    deps.hub.onExpelled((expelled) => {
      sessions.expel(expelled);
      expelReports(reports.values(), expelled);
      expelReports(outputs.values(), expelled);
    }),
  ];
  const listener = await listenSecurely({
    ...deps,
    admission: new Admission(deps.admission ?? ADMISSION, deps.clock),
    handshakeEnded: (outcome) => watch.handshakeEnded("link", outcome),
    clientRoots: () => deps.authorities().map(({ certificate }) => certificate.raw),
    requireClientCertificate: true,
    connected: (socket) => grpc.inject(socket),
  });
  return {
    port: listener.port,
    get connected() {
      return sessions.count;
    },
    sessions,
    reload: () => listener.reload(),
    stop: async (msMax) => {
      for (const stopListening of stops) stopListening();
      const { clock } = deps;
      const until = clock.monotonic() + msMax;
      const leftMs = () => Math.max(0, until - clock.monotonic());
      const ended = listener.ended();
      const { spreadMs } = sessions;
      const leaving: Promise<void>[] = [];
      await sessions.each((each) => leaving.push(each.leave(spreadMs, "the hub is stopping")));
      // The rest of the time is for recording that they have gone.
      await within(Promise.all(leaving), leftMs() / 3, clock);
      grpc.drain(leftMs() / 2);
      await within(ended, leftMs() / 2, clock);
      grpc.close();
      listener.close();
      await ended;
      // Each stream's end is still recorded; whoever stops us may close the store after this.
      await within(settled(running), leftMs(), clock);
      stopped.abort();
    },
  };
}

/** Waits for the work, but no longer than that. */
export async function within(work: Promise<unknown>, msMax: number, clock: Clock): Promise<void> {
  const done = new AbortController();
  await Promise.race([work, clock.sleep(msMax, done.signal)]);
  done.abort();
}

type Serving = Readonly<{
  sessions: Sessions;
  reports: Map<string, ReportStream>;
  outputs: Map<OutputCall, ReportStream>;
  /** Streams whose handler has not ended. */
  running: Set<Promise<void>>;
  timing: LinkTiming;
  stopped: AbortSignal;
}>;

/** Also what begins while others end. */
async function settled(running: ReadonlySet<Promise<void>>): Promise<void> {
  while (running.size > 0) await Promise.allSettled(running);
}

function tracked(running: Set<Promise<void>>, work: Promise<void>): Promise<void> {
  running.add(work);
  return work.finally(() => running.delete(work));
}

function addHandlers(
  server: ReturnType<typeof createGrpcServer>["server"],
  deps: LinkServerDeps,
  { sessions, reports, outputs, running, timing, stopped }: Serving,
): void {
  const { log, clock, watch = UNWATCHED } = deps;
  const certificates = new AgentCertificates(CERTIFICATES_MAX);
  // At each call: a resumed TLS session skips the check, and a connection may outlive its certificate.
  const caller = (call: Parameters<typeof certificateOf>[0]) =>
    certificates.verify(certificateOf(call), deps.authorities(), clock.now());
  const afterwards = (work: (stopped: AbortSignal) => Promise<void>) =>
    void tracked(running, work(stopped));
  const streams = { sessions, reports, outputs };
  const shared = { ...deps, watch, timing, afterwards, ...streams, callerOf: caller };
  server.addService(grpcService(LinkService), {
    control: streaming(log, (call: ControlCall) => tracked(running, control(call, shared))),
    report: streaming(log, (call: ReportCall) => tracked(running, report(call, shared))),
    tellOutput: streaming(log, (call: OutputCall) => tellOutput(call, shared)),
    fetchRelease: unary(log, (call: Parameters<typeof fetchRelease>[0]) =>
      fetchRelease(call, shared),
    ),
    fetchArtefact: streaming(log, (call: Parameters<typeof fetchArtefact>[0]) =>
      fetchArtefact(call, shared),
    ),
    fetchSecret: unary(log, (call: Parameters<typeof fetchSecret>[0]) => fetchSecret(call, shared)),
  });
}
