/** What the blueprint needs to know of a kind of resource, without knowing its driver. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Violation } from "../../fault.ts";

/** Types that an expression can have. */
export type ValueType = "string" | "integer" | "number" | "boolean" | "list" | "map" | "any";

/** Where in a spec something stands: names and indices from the spec's root. */
export type SpecPath = readonly (string | number)[];

export type KindRules = Readonly<{
  kind: string;
  /** Whether the value there is a constant of the release and may hold no expression. */
  isStatic(spec: JsonObject, at: SpecPath): boolean;
  /** Whether a secret may be named there. */
  mayHoldSecret(at: SpecPath): boolean;
  /** Whether an expression there has to give a whole number. */
  wantsInteger(at: SpecPath): boolean;
  /** Judges a template or a rendered spec; `path` goes before the paths of violations. */
  check(spec: unknown, path: string): readonly Violation[];
  /** Outputs that exist once a resource with this spec runs: dotted name to type. */
  outputsOf(spec: JsonObject): ReadonlyMap<string, ValueType>;
  /** Named ports; undefined where the kind has none. */
  portsOf(spec: JsonObject): readonly string[];
  /** Ports of the host that the spec takes, with the name each has in the spec. */
  fixedPortsOf(spec: JsonObject): readonly Readonly<{ name: string; port: number }>[];
  /** Files of the host that the spec takes for itself. */
  pathsOf?(spec: JsonObject): readonly string[];
  artefactsOf(spec: JsonObject): readonly string[];
  /** The field that names the artefact, and what it has to be; `artefact` and a directory where nothing is said. */
  artefactForm?(spec: JsonObject): Readonly<{ field: string; is: "directory" | "file" }>;
  /** Kinds whose drivers it needs besides its own. */
  alsoNeeds?(spec: Readonly<Record<string, unknown>>): readonly string[];
  /** Whether all resources that do not go first wait for it, whatever they depend on. */
  goesFirst?(spec: JsonObject): boolean;
  /** Counters that the driver keeps. */
  counters: readonly string[];
}>;
