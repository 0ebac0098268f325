/** Rendering in stages: what is known goes in, the rest stays as typed holes. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import type { JsonObject } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compiledWith, violationsOf } from "./blueprint.fixture.ts";
import { type Known, render, sensitiveParameters } from "./render.ts";
import { canonicalJson, renderedDigest } from "./rendered-digest.ts";

const params = { n: 5, text: "a", flag: true, list: [1, 2], map: { x: "y" }, password: "hunter2" };
const assignment: Known = { params, facts: { region: "eu" } };
const runtime: Known = {
  ...assignment,
  secrets: { dsn: "s3cret" },
  resources: { worker: { outputs: { ports: { http: 41_234 } } } },
};
const specOf = (template: JsonObject, known: Known = assignment) => render(template, known).spec;

describe("render", () => {
  it("keeps the type of a value that is one expression", () => {
    const template = {
      n: "${params.n}",
      flag: "${params.flag}",
      list: "${params.list}",
      map: "${params.map}",
    };
    expect(specOf(template)).toEqual({ n: 5, flag: true, list: [1, 2], map: { x: "y" } });
  });

  it("makes text where an expression is a part of one", () => {
    expect(specOf({ a: "n=${params.n} in ${facts.region}, $${params.n}" })).toEqual({
      a: "n=5 in eu, ${params.n}",
    });
  });

  it("does not look at what was put in for expressions", () => {
    const known = { params: { text: "${secrets.dsn} ${params.text}" }, secrets: { dsn: "s3cret" } };
    const template = { a: "${params.text}", b: "x ${params.text}" };
    expect(render(template, known).spec).toEqual({
      a: "${secrets.dsn} ${params.text}",
      b: "x ${secrets.dsn} ${params.text}",
    });
  });

  it("does not expand within names of fields", () => {
    expect(specOf({ "${params.n}": 1 })).toEqual({ "${params.n}": 1 });
  });

  it("leaves holes with path, type and stage for what is not known yet", () => {
    const template = {
      url: "http://${facts.region}:${resources.worker.outputs.ports.http}/${params.text}",
      port: "${resources.worker.outputs.ports.http}",
      files: { dsn: "${secrets.dsn}" },
    };
    const { spec, holes, sensitive } = render(template, assignment);
    expect(spec["url"]).toBe("http://eu:${resources.worker.outputs.ports.http}/a");
    expect(holes).toMatchObject([
      { path: "url", type: "string", stage: "runtime", sensitive: false },
      { path: "port", type: "integer", stage: "runtime", sensitive: false },
      { path: "files.dsn", type: "string", stage: "runtime", sensitive: true },
    ]);
    expect(sensitive).toEqual(["files.dsn"]);
    const { holes: publish } = render(template, {});
    expect(publish.map(({ stage }) => stage)).toEqual(["assignment", "runtime", "runtime"]);
    expect(render(template, runtime)).toMatchObject({
      spec: { url: "http://eu:41234/a", port: 41_234, files: { dsn: "s3cret" } },
      holes: [],
      sensitive: ["files.dsn"],
    });
  });

  it("marks what parameters declared writeOnly bring in", () => {
    const sensitiveParams = sensitiveParameters(compiledWith().parameters);
    expect(sensitiveParams).toEqual(["password"]);
    const template = { a: ["x", "p=${params.password}"], b: "${params.text}" };
    expect(render(template, { ...assignment, sensitiveParams }).sensitive).toEqual(["a[1]"]);
  });

  it.each([
    [
      "an unknown fact",
      { a: "${facts.zone}" },
      "a: ${facts.zone}: unknown name; known in facts: region",
    ],
    ["a name from Object", { a: "${params.constructor}" }, "unknown name"],
    ["a prototype", { a: "${params.map.__proto__}" }, "unknown name"],
    ["a map within a text", { a: "x${params.map}" }, "is a map and cannot be part of a text"],
    ["a missing output", { a: "${resources.worker.outputs.ports.x}" }, "unknown name"],
  ])("refuses %s", (_, template, says) => {
    expect(violationsOf(() => render(template, runtime)).join()).toContain(says);
  });

  it("refuses to grow beyond 1 MiB, however often a value is used", () => {
    const known = { params: { text: "x".repeat(200_000) } };
    const times = (count: number) => ({ a: Array(count).fill("${params.text}") });
    expect(violationsOf(() => render(times(5), known))).toEqual([]);
    expect(violationsOf(() => render(times(6), known))).toEqual([
      "a[5]: expansion limit 1 MiB / depth 8",
    ]);
  });

  it("refuses a value of more than 8 levels", () => {
    const nested = (depth: number): JsonObject => (depth === 0 ? {} : { x: nested(depth - 1) });
    const known = (depth: number) => ({ params: { map: nested(depth) } });
    expect(violationsOf(() => render({ a: "${params.map}" }, known(7)))).toEqual([]);
    expect(violationsOf(() => render({ a: "${params.map}" }, known(8)))).toHaveLength(1);
  });

  it("gives the same in two stages as in one", () => {
    const piece = fc.constantFrom(
      "${params.n}",
      "${resources.worker.outputs.ports.http}",
      "$",
      "{",
      "x",
      "$${",
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 2, maxLength: 8 }), (pieces) => {
        const template = { a: pieces.join("") };
        if (violationsOf(() => render(template, runtime)).length > 0) return;
        const first = render(template, assignment);
        const second = first.holes.length === 0 ? first : render(first.spec, runtime);
        expect(second.spec).toEqual(render(template, runtime).spec);
      }),
    );
  });
});

describe("renderedDigest", () => {
  const digest = (known: Known, artefacts = { worker: "sha256:1" }) =>
    renderedDigest({
      kind: "process",
      rendered: render({ a: "${params.n}", b: "${secrets.dsn}" }, known),
      artefacts,
    });

  it("changes with the content and with an artefact, not with anything else", () => {
    const before = digest(assignment);
    expect(digest({ params: { n: 5 }, facts: {} })).toBe(before);
    expect(digest({ params: { n: 6 } })).not.toBe(before);
    expect(digest(assignment, { worker: "sha256:2" })).not.toBe(before);
  });

  it("does not depend on the order of fields", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.integer(), { noNullPrototype: true }), (map) => {
        const turned = Object.fromEntries(Object.entries(map).reverse());
        expect(canonicalJson(turned)).toBe(canonicalJson(map));
        expect(JSON.parse(canonicalJson(map))).toEqual(map);
      }),
    );
  });
});
