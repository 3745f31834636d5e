import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  type ControllerMetric,
  controllerMetrics,
  type ControllerMetrics,
} from '../telemetry/controller-metrics.ts';

/** Seconds: from a quiet cluster's tens of milliseconds to the minutes that a request may wait. */
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** The metrics of approver and signer in Prometheus' text format. */
export function promMetrics(): ControllerMetrics & { text(): Promise<string> } {
  const registry = new Registry();
  const kept = new Map<ControllerMetric, Counter | Gauge | Histogram>();
  for (const [name, entry] of Object.entries(controllerMetrics)) {
    const { help, type } = entry;
    const labelNames = 'labels' in entry ? [...entry.labels] : [];
    const options = { name, help, labelNames, registers: [registry] };
    const made =
      type === 'counter'
        ? new Counter(options)
        : type === 'gauge'
          ? new Gauge(options)
          : new Histogram({ ...options, buckets });
    kept.set(name as ControllerMetric, made);
  }
  return {
    add(name, labels) {
      const metric = kept.get(name);
      if (metric instanceof Counter) metric.inc(labels);
    },
    set(name, value) {
      const metric = kept.get(name);
      if (metric instanceof Gauge) metric.set(value);
    },
    observe(name, seconds) {
      const metric = kept.get(name);
      if (metric instanceof Histogram) metric.observe(seconds);
    },
    text: () => registry.metrics(),
  };
}
