/**
 * A program's metrics as text: OpenMetrics for who asks for it, else the Prometheus text format. Also the figures of
 * the process itself, under the names that dashboards know.
 */
import { Counter, collectDefaultMetrics, Registry } from "prom-client";

export type Exposition = Readonly<{ contentType: string; text: string }>;

export const OPEN_METRICS = "application/openmetrics-text";

/** Gauges of the library whose names end as only a counter's may. */
const MISNAMED = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
] as const;

/** CPU, memory, descriptors, garbage collection and the delay of the event loop. */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}

/** The registry's metrics in the form that `accept`, the header of the request, prefers. */
export async function expose(registry: Registry, accept: string | undefined): Promise<Exposition> {
  const view = prefersOpenMetrics(accept) ? openMetricsOf(registry) : registry;
  return { contentType: view.contentType, text: await view.metrics() };
}

/** A second registry over the same metrics, since a registry writes one form alone. */
function openMetricsOf(registry: Registry): Registry {
  const view = new Registry();
  view.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  for (const { name } of registry.getMetricsAsArray()) {
    const metric = registry.getSingleMetric(name);
    if (metric === undefined) continue;
    // Writing a counter in this form changes its name, for the other form too; so it is done to a shadow of it.
    view.registerMetric(metric instanceof Counter ? Object.create(metric) : metric);
  }
  return view;
}

/** Pure. Whoever names neither form gets plain text, which a person can read too. */
export function prefersOpenMetrics(accept: string | undefined): boolean {
  const wish = (type: string) =>
    Math.max(
      0,
      ...rangesOf(accept ?? "")
        .filter((range) => range.type === type)
        .map(({ q }) => q),
    );
  const open = wish(OPEN_METRICS);
  return open > 0 && open >= wish("text/plain");
}

function rangesOf(accept: string): readonly Readonly<{ type: string; q: number }>[] {
  return accept.split(",").map((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const given = parameters.find((parameter) => parameter.startsWith("q="));
    const q = given === undefined ? 1 : Number(given.slice(2));
    return { type, q: Number.isFinite(q) ? q : 0 };
  });
}

/** The same answer to all who ask in one turn, as the gauges of one scrape do. */
export function oncePerTurn<T>(read: () => T): () => T {
  let known: Readonly<{ value: T }> | undefined;
  return () => {
    if (known !== undefined) return known.value;
    const value = read();
    known = { value };
    queueMicrotask(() => {
      known = undefined;
    });
    return value;
  };
}
