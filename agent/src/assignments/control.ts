/** The agent's end of the control stream: what is held, what is offered, what is to be done once. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  CapabilitySchema,
  HeldFloorSchema,
  HeldKeySetSchema,
  HeldSchema,
  type Offer,
  type Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type {
  Action,
  ActionResult,
  Rehearsal,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Assignment } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { ControlPort, Identity } from "../link/port.ts";
import type { Engine } from "../reconcile/engine.ts";
import { rehearse } from "../reconcile/rehearse.ts";
import { announcedSealingKey } from "../secrets/sealing-key.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";
import * as pins from "../store/pins.ts";
import type { VersionedStatus } from "../store/statuses.ts";
import type { HubTime } from "./hub-time.ts";
import type { Intake } from "./intake.ts";
import { noteFreshness, pinKeySet } from "./pinning.ts";

const PENDING_OFFERS_MAX = 100;

export type ControlDeps = Readonly<{
  store: Store;
  engine: Engine;
  intake: Intake;
  hubTime: HubTime;
  clock: Clock;
  log: Log;
  identity(): Identity;
  agentVersion: string;
  bootId: string;
  /** Random, of this process alone. */
  life: string;
  platform: string;
  /** Kind of every known driver to why it cannot work here. */
  drivers: ReadonlyMap<string, string | undefined>;
  /** Another agent has taken over. */
  takenOver(): void;
}>;

export class Control implements ControlPort {
  readonly statusBell: Doorbell;
  readonly #deps: ControlDeps;

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    this.statusBell = deps.engine.statusBell;
  }

  hello(): ReturnType<ControlPort["hello"]> {
    const { store, agentVersion, bootId, life, platform, drivers, clock, identity } = this.#deps;
    return {
      agentVersion,
      bootId,
      life,
      platform,
      fencing: identity().fencing,
      incarnation: facts.findIncarnation(store),
      capabilities: [...drivers].map(([kind, why]) =>
        create(CapabilitySchema, {
          name: `driver/${kind}`,
          available: why === undefined,
          reason: why ?? "",
        }),
      ),
      held: assignments.list(store).map((each) => this.#held(each)),
      keySets: pins.listKeySets(store).map(({ purpose, version }) => {
        return create(HeldKeySetSchema, { purpose: KeyPurpose[purpose], version });
      }),
      floors: pins.listFloors(store).map((floor) => create(HeldFloorSchema, floor)),
      agentTime: timestampFromMs(clock.now()),
      sealingKey: announcedSealingKey(store, identity()),
    };
  }

  #held({ instanceId, generation, digest, removed }: assignments.HeldAssignment) {
    const entitlement = assignments.findEntitlement(this.#deps.store, instanceId);
    return create(HeldSchema, {
      instanceId,
      generation,
      assignmentDigest: digest,
      ...(entitlement !== undefined && { entitlementRevision: entitlement.revision }),
      removed,
    });
  }

  welcomed(welcome: Welcome): void {
    const { store, hubTime, log } = this.#deps;
    try {
      if (welcome.hubTime !== undefined) hubTime.told(timestampMs(welcome.hubTime));
      facts.raiseIncarnation(store, welcome.incarnation);
      facts.clearFrozen(store);
    } catch (error) {
      // A disk that takes no writes is no reason to be out of touch: the next welcome says it again.
      log.error({ error: causeChain(error) }, "what the hub said at the welcome was not stored");
    }
  }

  /** Waits only where too many do: a release that cannot be fetched must not hold up other instances. */
  async offered(offer: Offer): Promise<void> {
    const { intake, log } = this.#deps;
    log.debug({ instance: offer.instanceId }, "offered");
    const taken = intake.offered(offer).catch((error: unknown) => {
      log.error({ instance: offer.instanceId, error: causeChain(error) }, "offer not taken");
    });
    if (intake.pending > PENDING_OFFERS_MAX) await taken;
  }

  keySetOffered(envelope: Envelope): void {
    const { store, log, identity } = this.#deps;
    try {
      pinKeySet(store, envelope, identity().vendorId);
    } catch (error) {
      log.warn({ error: causeChain(error) }, "key set refused");
    }
  }

  freshnessNoted(envelope: Envelope): void {
    const { store, log, engine, identity } = this.#deps;
    try {
      noteFreshness(store, envelope, identity());
      engine.wakeAll();
    } catch (error) {
      log.warn({ error: causeChain(error) }, "freshness note refused");
    }
  }

  act(action: Action, tell: (result: ActionResult) => void): void {
    const { engine } = this.#deps;
    if (engine.orders.take(action, tell)) engine.wake(action.instanceId);
  }

  async rehearse(id: string, candidate: Envelope | undefined): Promise<Rehearsal> {
    const { store, engine, intake, hubTime, clock, identity } = this.#deps;
    const release = (assignment: Assignment) => intake.release(assignment);
    const deps = { store, engine, clock, identity, release, hubNow: hubTime.now };
    return await rehearse(deps, id, candidate);
  }

  statuses(): readonly VersionedStatus[] {
    return this.#deps.engine.statuses();
  }

  takenOver(): void {
    this.#deps.takenOver();
  }

  frozen(): void {
    const { store, clock, log, engine } = this.#deps;
    if (facts.findFrozen(store) !== undefined) return;
    facts.putFrozen(store, clock.now());
    log.warn(
      {},
      "another process has this agent's identity: nothing new is begun, workloads go on",
    );
    engine.wakeAll();
  }

  linkChanged(up: boolean, message: string): void {
    const { store, clock, engine } = this.#deps;
    const last = facts.findLink(store);
    const since = last?.up === up ? last.since : clock.now();
    if (last?.up !== up || last.message !== message) {
      facts.replaceLink(store, { up, message, since });
    }
    if (up) engine.wakeAll();
  }
}
