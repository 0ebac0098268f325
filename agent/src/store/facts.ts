/** Single facts that fit nowhere else: the hub's incarnation and the state of the link, for the local page. */
import type { Store } from "./database.ts";

export type LinkFacts = Readonly<{
  up: boolean;
  message: string;
  /** Wall clock, ms: up or down since. */
  since: number;
}>;

/** Newest incarnation of the hub that was seen; 0 before the first contact. */
export function findIncarnation(store: Store): bigint {
  return BigInt(find(store, "incarnation") ?? "0");
}

/** Only ever grows. */
export function raiseIncarnation(store: Store, incarnation: bigint): void {
  if (incarnation > findIncarnation(store)) put(store, "incarnation", String(incarnation));
}

export function findLink(store: Store): LinkFacts | undefined {
  const text = find(store, "link");
  return text === undefined ? undefined : (JSON.parse(text) as LinkFacts);
}

export function replaceLink(store: Store, link: LinkFacts): void {
  put(store, "link", JSON.stringify(link));
}

/** How far the hub's clock was ahead of this host's, ms; 0 before the first contact. */
export function findHubAhead(store: Store): number {
  return Number(find(store, "hub_ahead_ms") ?? "0");
}

export function putHubAhead(store: Store, ms: number): void {
  put(store, "hub_ahead_ms", String(ms));
}

/** Where a damaged store was put; this one has begun anew since. */
export function findDamaged(store: Store): string | undefined {
  return find(store, "damaged");
}

export function putDamaged(store: Store, path: string): void {
  put(store, "damaged", path);
}

/** A new enrolment has made up for it. */
export function clearDamaged(store: Store): void {
  store.run("delete from fact where name = ?", "damaged");
}

/** Where the workloads live if that is not this agent's own directory. */
export function findWorkplace(store: Store): string | undefined {
  return find(store, "workplace");
}

export function putWorkplace(store: Store, path: string): void {
  put(store, "workplace", path);
}

/** Workloads of another agent are there that this one has not taken in yet. */
export function isAdopting(store: Store): boolean {
  return find(store, "adopting") !== undefined;
}

export function beginAdopting(store: Store): void {
  put(store, "adopting", "yes");
}

export function endAdopting(store: Store): void {
  store.run("delete from fact where name = ?", "adopting");
}

/** Wall clock, ms: since when another agent has had this one's cell; undefined while this one is active. */
export function findFenced(store: Store): number | undefined {
  const text = find(store, "fenced");
  return text === undefined ? undefined : Number(text);
}

/** The first time counts. */
export function putFenced(store: Store, at: number): void {
  if (findFenced(store) === undefined) put(store, "fenced", String(at));
}

/** A takeover in this directory has made it active again, as another agent. */
export function clearFenced(store: Store): void {
  store.run("delete from fact where name = ?", "fenced");
}

/** Wall clock, ms: since when the hub has let nobody in with this agent's identity, as two processes have it. */
export function findFrozen(store: Store): number | undefined {
  const text = find(store, "frozen");
  return text === undefined ? undefined : Number(text);
}

/** The first time counts. */
export function putFrozen(store: Store, at: number): void {
  if (findFrozen(store) === undefined) put(store, "frozen", String(at));
}

/** The hub has let it in, or a takeover has made it another agent. */
export function clearFrozen(store: Store): void {
  if (findFrozen(store) !== undefined) store.run("delete from fact where name = ?", "frozen");
}

function find(store: Store, name: string): string | undefined {
  return store.get<{ value: string }>("select value from fact where name = ?", name)?.value;
}

function put(store: Store, name: string, value: string): void {
  store.run(
    `insert into fact (name, value) values (?, ?)
     on conflict (name) do update set value = excluded.value`,
    name,
    value,
  );
}
