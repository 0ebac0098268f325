/** What the local fleet asks the hub for, as the documents that `holdfast apply` takes. */

export const TENANTS = ["acme", "globex", "initech"] as const;

const document = (kind: string, metadata: object, spec: object) =>
  JSON.stringify({ apiVersion: "holdfast/v1", kind, metadata, spec }, null, 2);

/** YAML stream of JSON documents, which YAML 1.2 is a superset of. */
const stream = (documents: readonly string[]) => `${documents.join("\n---\n")}\n`;

/** Tenants, where releases are promoted to, and a cell of each kind. */
export function groundManifest(): string {
  return stream([
    ...TENANTS.map((name) => document("Tenant", { name }, { displayName: name })),
    document("Environment", { name: "production" }, { rank: 1 }),
    document("Cell", { name: "hosted" }, { kind: "CELL_KIND_HOSTED", region: "local" }),
    document(
      "Cell",
      { name: "byoa", tenant: "initech" },
      { kind: "CELL_KIND_BYOA", region: "local", account: "initech" },
    ),
  ]);
}

export type Sources = Readonly<{ free: string; pro: string }>;

/** One pooled instance for the free plan, one of initech's own, both at this release. */
export function instancesManifest(release: string, sources: Sources): string {
  return stream([
    document(
      "Instance",
      { name: "etl-free" },
      {
        product: "etl",
        release,
        plan: "free",
        environment: "production",
        cell: "hosted",
        parameters: { source: sources.free },
      },
    ),
    document(
      "Instance",
      { name: "etl", tenant: "initech" },
      {
        product: "etl",
        release,
        plan: "pro",
        subscription: "etl",
        environment: "production",
        cell: "byoa",
        parameters: { source: sources.pro },
      },
    ),
  ]);
}

/** A dedicated instance belongs to a subscription, so initech's comes first. */
export function proSubscriptionManifest(): string {
  return stream([document("Subscription", { name: "etl", tenant: "initech" }, { plan: "pro" })]);
}

/** Seats in the pooled instance, which must be there. */
export function freeSubscriptionsManifest(): string {
  return stream(
    ["acme", "globex"].map((tenant) =>
      document("Subscription", { name: "etl", tenant }, { plan: "free", instance: "etl-free" }),
    ),
  );
}

/** A member of each tenant, who owns what is the tenant's. */
export function membersManifest(): string {
  return stream(
    TENANTS.map((tenant) =>
      document(
        "Member",
        { name: "admin", tenant },
        { displayName: `${tenant} admin`, serviceAccount: true, grants: [{ role: "ROLE_OWNER" }] },
      ),
    ),
  );
}
