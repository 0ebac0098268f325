/**
 * Which parameter values are a customer's secrets: those that a release declares writeOnly. They are never shown beside
 * what they were. Where the release cannot be read, as by a tenant, no value is.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { PlanService } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { type Release, ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { sensitiveParameters } from "@holdfast/shared/blueprint/render.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Change } from "./changes.ts";
import { at, textAt } from "./format.ts";
import type { HubClient } from "./hub-client.ts";
import type { ObjectView } from "./object-calls.ts";

/** Names of secret parameters; `all` where they cannot be known. */
type Names = ReadonlySet<string> | "all";

/** Where kinds keep parameter values. */
const PLACE = /^spec\.(?:parameters|overrides)\.([^.]+)/;
const RELEASES_READ_MAX = 50;

export class Sensitive {
  readonly #hub: HubClient;
  readonly #known = new Map<string, Promise<Names>>();

  constructor(hub: HubClient) {
    this.#hub = hub;
  }

  /** The changes between `views` of one object, secrets hidden. */
  async hide(changes: readonly Change[], ...views: readonly ObjectView[]): Promise<Change[]> {
    if (!changes.some(({ path }) => PLACE.test(path))) return [...changes];
    const secret = await Promise.all(views.map((view) => this.#namesOf(view)));
    return changes.map((change) => {
      const name = PLACE.exec(change.path)?.[1];
      if (name === undefined || !secret.some((names) => names === "all" || names.has(name))) {
        return change;
      }
      const mark = (value: unknown) => (value === undefined ? undefined : "(hidden)");
      return { ...change, before: mark(change.before), after: mark(change.after), isHidden: true };
    });
  }

  /** The object with its secret parameters hidden. */
  async masked(view: ObjectView): Promise<ObjectView> {
    const spec = at(view, "spec") as JsonObject | undefined;
    const place = ["parameters", "overrides"].find((each) => spec?.[each] !== undefined);
    if (spec === undefined || place === undefined) return view;
    const names = await this.#namesOf(view);
    const values = Object.entries(spec[place] as JsonObject).map(([name, value]) => {
      return [name, names === "all" || names.has(name) ? "(hidden)" : value] as const;
    });
    return { ...view, spec: { ...spec, [place]: Object.fromEntries(values) } };
  }

  async #namesOf(view: ObjectView): Promise<Names> {
    const [product, release, plan] = ["product", "release", "plan"].map((each) =>
      textAt(view, `spec.${each}`),
    ) as [string, string, string];
    if (product !== "-" && release !== "-") {
      return await this.#once(`${product}-${release}`, () => this.#ofRelease(product, release));
    }
    if (product !== "-") return await this.#once(product, () => this.#ofProduct(product));
    return plan === "-" ? "all" : await this.#once(`plan ${plan}`, () => this.#ofPlan(plan));
  }

  /** A refusal is an answer: what cannot be known is secret. */
  #once(key: string, look: () => Promise<Names>): Promise<Names> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = look().catch((error: unknown): Names => {
      if (error instanceof Fault && ["NOT_FOUND", "PERMISSION_DENIED"].includes(error.code)) {
        return "all";
      }
      throw error;
    });
    this.#known.set(key, found);
    return found;
  }

  async #ofRelease(product: string, version: string): Promise<Names> {
    const client = this.#hub.client(ReleaseService);
    const name = `${product}-${version}`;
    const { release } = await this.#hub.call(() => client.getRelease({ release: name }));
    return new Set(release === undefined ? [] : namesIn(release));
  }

  /** A plan holds for all releases of its product. */
  async #ofProduct(product: string): Promise<Names> {
    const client = this.#hub.client(ReleaseService);
    const request = { product, pageSize: RELEASES_READ_MAX };
    const { releases, nextPageToken } = await this.#hub.call(() => client.listReleases(request));
    return nextPageToken === "" || releases.length < RELEASES_READ_MAX
      ? new Set(releases.flatMap(namesIn))
      : "all";
  }

  async #ofPlan(name: string): Promise<Names> {
    const client = this.#hub.client(PlanService);
    const { plan } = await this.#hub.call(() => client.getPlan({ plan: name }));
    return await this.#ofProduct(plan?.spec?.product ?? "");
  }
}

function namesIn({ spec }: Release): readonly string[] {
  return sensitiveParameters(spec?.blueprint?.parameters);
}
