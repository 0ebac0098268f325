/**
 * The kinds of objects: their names in all forms, which verbs each knows, and where its messages are. A kind's
 * messages are loaded on first use.
 */
import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";

export type StandardVerb = "get" | "list" | "update" | "delete";
export type Filter = "labels" | "release" | "cell" | "instance" | "filter" | "orderBy";
/** Those that every list knows. */
export const COMMON_FILTERS: readonly Filter[] = ["filter", "orderBy"];
export type KindModule = Readonly<{ schema: DescMessage; service: DescService }>;

export type Kind = Readonly<{
  /** Lower case, as in ids and events. */
  name: string;
  /** As in manifests. */
  title: string;
  plural: string;
  short: readonly string[];
  verbs: readonly StandardVerb[];
  /** Whether its requests say whose it is. */
  isTenants: boolean;
  /** What its list can be narrowed by. */
  filters: readonly Filter[];
  load(): Promise<KindModule>;
}>;

const ALL = ["get", "list", "update", "delete"] as const;
const KEPT = ["get", "list", "update"] as const;
const SEEN = ["get", "list"] as const;

const LABELS = ["labels"] as const;

function named(name: string, title: string, short: readonly string[]) {
  return { name, title, plural: `${name}s`, short };
}

/* The order is the one in which references resolve: what is named comes before who names it. */
export const KINDS: readonly Kind[] = [
  {
    ...named("tenant", "Tenant", ["tn"]),
    verbs: ALL,
    isTenants: false,
    filters: LABELS,
    load: async () => {
      const { TenantSchema, TenantService } = await import(
        "@holdfast/proto/holdfast/api/v1/tenant_pb.js"
      );
      return { schema: TenantSchema, service: TenantService };
    },
  },
  {
    ...named("member", "Member", ["mem"]),
    verbs: ALL,
    isTenants: true,
    filters: LABELS,
    load: async () => {
      const { MemberSchema, MemberService } = await import(
        "@holdfast/proto/holdfast/api/v1/member_pb.js"
      );
      return { schema: MemberSchema, service: MemberService };
    },
  },
  {
    ...named("product", "Product", ["prd"]),
    verbs: KEPT,
    isTenants: false,
    filters: LABELS,
    load: async () => {
      const { ProductSchema, ProductService } = await import(
        "@holdfast/proto/holdfast/api/v1/product_pb.js"
      );
      return { schema: ProductSchema, service: ProductService };
    },
  },
  {
    ...named("release", "Release", ["rel"]),
    verbs: SEEN,
    isTenants: false,
    filters: [],
    load: async () => {
      const { ReleaseSchema, ReleaseService } = await import(
        "@holdfast/proto/holdfast/api/v1/release_pb.js"
      );
      return { schema: ReleaseSchema, service: ReleaseService };
    },
  },
  {
    ...named("environment", "Environment", ["env"]),
    verbs: KEPT,
    isTenants: false,
    filters: LABELS,
    load: async () => {
      const { EnvironmentSchema, EnvironmentService } = await import(
        "@holdfast/proto/holdfast/api/v1/environment_pb.js"
      );
      return { schema: EnvironmentSchema, service: EnvironmentService };
    },
  },
  {
    ...named("plan", "Plan", ["pln"]),
    verbs: KEPT,
    isTenants: false,
    filters: LABELS,
    load: async () => {
      const { PlanSchema, PlanService } = await import(
        "@holdfast/proto/holdfast/api/v1/plan_pb.js"
      );
      return { schema: PlanSchema, service: PlanService };
    },
  },
  {
    ...named("cell", "Cell", ["cel"]),
    verbs: ALL,
    isTenants: true,
    filters: LABELS,
    load: async () => {
      const { CellSchema, CellService } = await import(
        "@holdfast/proto/holdfast/api/v1/cell_pb.js"
      );
      return { schema: CellSchema, service: CellService };
    },
  },
  {
    ...named("agent", "Agent", ["agt"]),
    verbs: SEEN,
    isTenants: true,
    filters: [],
    load: async () => {
      const { AgentSchema, AgentService } = await import(
        "@holdfast/proto/holdfast/api/v1/agent_pb.js"
      );
      return { schema: AgentSchema, service: AgentService };
    },
  },
  {
    ...named("subscription", "Subscription", ["sub"]),
    verbs: ALL,
    isTenants: true,
    filters: LABELS,
    load: async () => {
      const { SubscriptionSchema, SubscriptionService } = await import(
        "@holdfast/proto/holdfast/api/v1/subscription_pb.js"
      );
      return { schema: SubscriptionSchema, service: SubscriptionService };
    },
  },
  {
    ...named("instance", "Instance", ["ins", "inst"]),
    verbs: ALL,
    isTenants: true,
    filters: ["labels", "release", "cell"],
    load: async () => {
      const { InstanceSchema, InstanceService } = await import(
        "@holdfast/proto/holdfast/api/v1/instance_pb.js"
      );
      return { schema: InstanceSchema, service: InstanceService };
    },
  },
  {
    ...named("seat", "Seat", ["sea"]),
    verbs: SEEN,
    isTenants: true,
    filters: ["release", "cell", "instance"],
    load: async () => {
      const { SeatSchema, SeatService } = await import(
        "@holdfast/proto/holdfast/api/v1/seat_pb.js"
      );
      return { schema: SeatSchema, service: SeatService };
    },
  },
];

const WORDS = KINDS.flatMap(({ name, plural, short }) => [name, plural, ...short]);

/** By its name in any form: `instance`, `instances`, `ins`. Throws INVALID_ARGUMENT `KIND_UNKNOWN`. */
export function kindOf(word: string): Kind {
  const lower = word.toLowerCase();
  const found = KINDS.find(({ name, plural, short }) => {
    return [name, plural, ...short].some((each) => each === lower);
  });
  if (found !== undefined) return found;
  const near = suggestion(word, WORDS);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  const known = KINDS.map(({ name }) => name).join(", ");
  throw new Fault(
    "INVALID_ARGUMENT",
    "KIND_UNKNOWN",
    `unknown kind ${shown(word)}; known: ${known}${hint}`,
    { next: "holdfast get --help" },
  );
}

/** Throws INVALID_ARGUMENT `KIND_VERB` if objects of the kind do not know the verb. */
export function requireVerb(kind: Kind, verb: StandardVerb): void {
  if (kind.verbs.includes(verb)) return;
  const why = kind.name === "release" ? "; a release never changes" : "; the hub keeps it itself";
  const next =
    kind.name === "release" ? "holdfast release publish --help" : `holdfast get ${kind.name}`;
  const message = `a ${kind.name} has no ${verb}${why}`;
  throw new Fault("INVALID_ARGUMENT", "KIND_VERB", message, { next });
}
