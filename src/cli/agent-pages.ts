import { statusReport, type Respondent } from '../agent/status-report.ts';
import { type Telling } from '../agent/telling.ts';
import { type Watch } from '../agent/watch.ts';
import { type Metrics } from '../telemetry/metrics.ts';
import { type Answer, plainText } from '../runtime/web.ts';

/** What `podseal watch` serves on PODSEAL_LISTEN, by path. */
export function agentPages(
  respondent: Respondent,
  parts: {
    readonly agent: Watch;
    readonly telling: Telling;
    readonly metrics: Metrics & { text(): string };
  },
): (path: string) => Answer {
  const { agent, telling, metrics } = parts;
  const pages: Readonly<Record<string, () => Answer>> = {
    '/healthz': () => plainText(200, 'ok\n'),
    '/readyz'() {
      const { ready, reasons } = agent.state().status;
      return plainText(
        ready ? 200 : 503,
        `${[ready ? 'ok' : 'not ready', ...reasons].join('\n')}\n`,
      );
    },
    '/metrics'() {
      metrics.set('podseal_ready', agent.state().status.ready ? 1 : 0);
      return {
        status: 200,
        contentType: 'text/plain; version=0.0.4; charset=utf-8',
        body: metrics.text(),
      };
    },
    '/status'() {
      const report = statusReport(respondent, agent.state(), telling.report());
      return { status: 200, contentType: 'application/json', body: `${JSON.stringify(report)}\n` };
    },
  };
  return (path) =>
    Object.hasOwn(pages, path) && pages[path]
      ? pages[path]()
      : plainText(404, 'there are /healthz, /readyz, /metrics and /status\n');
}
