import { serveWebhook } from '../src/node/webhook-server.ts';

/**
 * A webhook that lets every pod through as it is, as a process of its own: what a call of any webhook
 * costs. Takes the directory with its certificate; sends its port to the parent.
 */
const [certificateDirectory = ''] = process.argv.slice(2);
const stopping = new AbortController();
process.once('disconnect', () => process.exit());
const { port } = await serveWebhook(
  {
    certificateDirectory,
    listen: { host: '127.0.0.1', port: 0 },
    path: '/inject',
    answer(body) {
      const { request } = JSON.parse(body) as { readonly request: { readonly uid: string } };
      const review = {
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        response: { uid: request.uid, allowed: true },
      };
      return Promise.resolve({
        status: 200,
        contentType: 'application/json',
        body: JSON.stringify(review),
      });
    },
    onCertificate: () => undefined,
    onProblem: (why) => console.error(why),
  },
  stopping.signal,
);
process.send?.(port);
