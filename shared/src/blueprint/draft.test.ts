/** What a blueprint may say: each refusal with path, value and rule, and all of them at once. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { Fault } from "../fault.ts";
import { compiledWith, documentWith, type Loose, violationsOf } from "./blueprint.fixture.ts";
import { checkBlueprint, RESOURCES_MAX } from "./check.ts";
import { parseBlueprint } from "./draft.ts";

const worker = (document: Loose) => document.resources[1];
const problemsOf = (change: (document: Loose) => void) =>
  violationsOf(() => parseBlueprint(documentWith(change)));

function chain(length: number): Loose[] {
  const spec = { artefact: "worker", argv: ["node", "x.mjs"] };
  return Array.from({ length }, (_, i) => ({
    id: `n${i}`,
    kind: "process",
    dependsOn: i === 0 ? [] : [`n${i - 1}`],
    spec,
  }));
}

function onlyResources(document: Loose, resources: Loose[]): void {
  Object.assign(document, { resources, meters: [], outputs: {} });
}

describe("parseBlueprint", () => {
  it("accepts the blueprint that the others here break", () => {
    expect(problemsOf(() => undefined)).toEqual([]);
  });

  it("puts dependencies first, those that only an expression names included", () => {
    const { resources } = parseBlueprint(documentWith()).blueprint;
    expect(resources.map(({ id, dependsOn }) => [id, dependsOn])).toEqual([
      ["worker", []],
      ["front", ["worker"]],
    ]);
  });

  it("closes the parameters", () => {
    expect(parseBlueprint(documentWith()).blueprint.parameters).toMatchObject({
      additionalProperties: false,
    });
  });

  it.each<[string, (document: Loose) => void, string]>([
    ["another kind of document", (d) => (d.kind = "Tenant"), "kind: not a blueprint; got Tenant"],
    [
      "a misspelt field",
      (d) => (d.resorces = []),
      "resorces: unknown field; did you mean resources?",
    ],
    ["a version that is a number", (d) => (d.version = 1), "version: not text; got 1"],
    [
      "a version that is none",
      (d) => (d.version = "v1"),
      "version: got v1; allowed: MAJOR.MINOR.PATCH",
    ],
    ["number 0", (d) => (d.number = 0), "number: out of range; got 0"],
    ["a number as text", (d) => (d.number = "2"), "number: not a whole number; got 2"],
    [
      "a resource that needs itself",
      (d) => (worker(d).dependsOn = ["worker"]),
      "cycle: worker -> worker",
    ],
    ["a cycle", (d) => (worker(d).dependsOn = ["front"]), "cycle: front -> worker -> front"],
    [
      "a missing resource",
      (d) => (worker(d).dependsOn = ["frnt"]),
      "resources[1].dependsOn: got frnt; there is no such resource; did you mean front?",
    ],
    [
      "an id twice",
      (d) => (d.resources[0].id = "worker"),
      "resources[1].id: worker is there twice",
    ],
    ["an unknown kind", (d) => (worker(d).kind = "proces"), "; did you mean process?"],
    ["no resources", (d) => onlyResources(d, []), "resources: required: at least one"],
    [
      "an unknown name",
      (d) => (worker(d).spec.env.X = "${process.env}"),
      "resources[1].spec.env.X: ${process.env} begins with no known name",
    ],
    [
      "an undeclared parameter",
      (d) => (worker(d).spec.env.X = "${params.sorce}"),
      "did you mean source?",
    ],
    [
      "a parameter from Object",
      (d) => (worker(d).spec.env.X = "${params.constructor}"),
      "unknown name",
    ],
    [
      "a parameter that may be absent",
      (d) => delete d.parameters.required,
      "${params.source} may be absent",
    ],
    [
      "an unknown output",
      (d) => (d.outputs.url = "${resources.worker.outputs.ports.tcp}"),
      "outputs.url: ${resources.worker.outputs.ports.tcp}: no such output; worker has: ports.http",
    ],
    [
      "a secret in the environment",
      (d) => (worker(d).spec.env.X = "${secrets.source_dsn}"),
      "may not stand here; allowed: only in secretFiles",
    ],
    [
      "a secret in an output",
      (d) => (d.outputs.x = "${secrets.source_dsn}"),
      "outputs.x: ${secrets.source_dsn} may not stand here",
    ],
    [
      "an undeclared secret",
      (d) => (worker(d).spec.secretFiles.x = "${secrets.dsn}"),
      "unknown name; known: source_dsn",
    ],
    [
      "an undeclared artefact",
      (d) => (worker(d).spec.artefact = "wrker"),
      "resources[1].spec.artefact: got wrker; allowed: worker",
    ],
    [
      "an absolute artefact path",
      (d) => (d.artefacts[0].path = "/etc"),
      "artefacts[0].path: not of this form; got /etc",
    ],
    [
      "a limit from a text",
      (d) => (worker(d).spec.limits = { memoryMib: "${params.source}" }),
      "spec.limits.memoryMib: ${params.source} is of type string; allowed: integer",
    ],
    [
      "a limit from a name that is not there",
      (d) => (worker(d).spec.limits = { memoryMib: "${params.memory}" }),
      "unknown name",
    ],
    [
      "a limit from a secret",
      (d) => (worker(d).spec.limits = { memoryMib: "${secrets.dsn}" }),
      "only in secretFiles",
    ],
    ["a user from a parameter", (d) => (worker(d).spec.user = "${params.source}"), "spec.user"],
    [
      "a probe's program from a parameter",
      (d) => (worker(d).spec.readiness = { exec: { argv: ["bin/check", "${params.source}"] } }),
      "this field is static",
    ],
    [
      "an expression in a static field",
      (d) => (worker(d).spec.readiness.http.path = "/${params.source}"),
      "resources[1].spec.readiness.http.path",
    ],
    [
      "an expression for the program",
      (d) => (worker(d).spec.argv[0] = "${params.source}"),
      "resources[1].spec.argv[0]",
    ],
    [
      "a meter's rate beyond 63 bits",
      (d) => (d.meters[0].maxRatePerSecond = 2_922_710_231),
      "meters[0].maxRatePerSecond: out of range; got 2922710231",
    ],
    [
      "a meter of a missing resource",
      (d) => (d.meters[1].driver.resource = "x"),
      "meters[1].driver.resource: got x; allowed: front, worker",
    ],
    [
      "an unknown counter",
      (d) => (d.meters[1].driver.counter = "cpu"),
      "meters[1].driver.counter: got cpu; allowed: cpu_ms, uptime_s, memory_mib_s",
    ],
    [
      "a meter's undeclared port",
      (d) => (d.meters[0].scrape.port = "x"),
      "meters[0].scrape.port: got x; allowed: http",
    ],
    ["a meter twice", (d) => (d.meters[1].name = "rows"), "meters[1].name: rows is there twice"],
    [
      "a meter without a source",
      (d) => delete d.meters[1].driver,
      "meters[1]: required: one source",
    ],
    [
      "a default against its own rule",
      (d) => (d.parameters.properties.batchRows.default = 0),
      "parameters.properties.batchRows.default: got 0; allowed: >= 1",
    ],
    ["a misspelt keyword", (d) => (d.parameters.properties.batchRows.minimun = 1), "minimun"],
    [
      "a keyword of the wrong type",
      (d) => (d.parameters.properties.batchRows.minimum = "1"),
      "parameters.properties.batchRows.minimum: got 1; allowed: number",
    ],
    [
      "a required parameter that is not declared",
      (d) => (d.parameters.required = ["sorce"]),
      "parameters.required[0]: sorce is no parameter, so nobody could give it; did you mean source?",
    ],
    [
      "an unknown type",
      (d) => (d.parameters.properties.source.type = "text"),
      "parameters.properties.source.type: got text",
    ],
    [
      "a remote schema",
      (d) => (d.parameters.properties.x = { $ref: "https://x/y" }),
      "allowed: #/$defs/NAME",
    ],
    [
      "a pattern with a back reference",
      (d) => (d.parameters.properties.source.pattern = "(a)\\1"),
      "parameters.properties.source.pattern",
    ],
    [
      "a long pattern",
      (d) => (d.parameters.properties.source.pattern = "a".repeat(201)),
      "201 characters are too many",
    ],
    [
      "recursive definitions",
      (d) => (d.parameters.$defs = { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }),
      "cycle: a -> b -> a",
    ],
    [
      "parameters that are no object",
      (d) => (d.parameters.type = "string"),
      "parameters.type: got string; allowed: object",
    ],
    [
      "two resources on one port",
      (d) => (d.resources[0].spec.ports = worker(d).spec.ports = { http: { fixed: 8080 } }),
      "got 8080, which front has already",
    ],
  ])("refuses %s", (_, change, says) => {
    expect(problemsOf(change).join("\n")).toContain(says);
  });

  it("names all problems of a document at once", () => {
    const found = problemsOf((d) => {
      d.product = "ETL";
      worker(d).spec.env.X = "${facts}";
      d.meters[0].scrape.port = "x";
      delete d.number;
    });
    expect(found).toHaveLength(4);
  });

  it("names at most 20 problems, and counts in the message", () => {
    expect(
      problemsOf((d) => onlyResources(d, Array(50).fill({ id: "A", kind: "x", spec: {} }))),
    ).toHaveLength(20);
  });

  it("refuses too many resources and too long chains as exhausting a limit", () => {
    const refusal = (count: number) => {
      try {
        parseBlueprint(documentWith((d) => onlyResources(d, chain(count))));
      } catch (error) {
        return error instanceof Fault ? [error.code, error.message] : error;
      }
      return undefined;
    };
    expect(refusal(64)).toBeUndefined();
    expect(refusal(65)).toEqual(["RESOURCE_EXHAUSTED", expect.stringContaining("limit 64")]);
    expect(refusal(RESOURCES_MAX + 1)).toEqual([
      "RESOURCE_EXHAUSTED",
      expect.stringContaining("limit 2000"),
    ]);
  });

  it.each([null, 5, [], "text"])("refuses %j as a document", (document) => {
    expect(violationsOf(() => parseBlueprint(document)).length).toBeGreaterThan(0);
  });
});

describe("checkBlueprint", () => {
  it("accepts what was compiled", () => {
    expect(checkBlueprint(compiledWith())).toEqual([]);
  });

  it.each<[string, (blueprint: Loose) => void, string]>([
    ["no vendor", (b) => (b.vendorId = ""), "vendorId"],
    ["a malformed digest", (b) => (b.artefacts[0].digest = "sha256:1"), "artefacts[0].digest"],
    [
      "a single file as a program's directory",
      (b) => (b.artefacts[0].mediaType = "text/plain"),
      "single file",
    ],
    ["another order", (b) => b.resources.reverse(), "allowed: dependency order"],
    [
      "a dependency that is left out",
      (b) => (b.resources[1].dependsOn = []),
      "worker is not in dependsOn",
    ],
    [
      "an open rate",
      (b) => (b.meters[0].maxRatePerSecond = 2n ** 62n),
      "lasts 100 years in 63 bits",
    ],
    ["a command as text", (b) => (b.resources[0].spec.argv = "sh -c x"), "a command as text"],
    [
      "a program outside of the artefact",
      (b) => (b.resources[0].spec.argv[1] = "../x"),
      "not part of the release",
    ],
  ])("finds %s in a message that somebody else compiled", (_, change, says) => {
    const blueprint = compiledWith();
    change(blueprint);
    const found = checkBlueprint(blueprint).map(({ path, message }) => `${path}: ${message}`);
    expect(found.join("\n")).toContain(says);
  });
});
