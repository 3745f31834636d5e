import { PodsealError } from '../errors.ts';
import {
  type WebhookConfiguration,
  type WebhookConfigurations,
} from '../injection/webhook-configuration.ts';
import { type ApiCall, type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textOf } from './json.ts';
import { listingOf } from './listing.ts';

const resource = 'mutatingwebhookconfigurations';
const path = `/apis/admissionregistration.k8s.io/v1/${resource}`;
const rbacFile = 'examples/rbac/injector.yaml';

/** The one MutatingWebhookConfiguration of this name (admissionregistration.k8s.io/v1). */
export function webhookConfigurations(calls: ApiCalls, name: string): WebhookConfigurations {
  const attempted = (verb: string): ApiCall['attempted'] => ({
    verb,
    resource,
    what: `MutatingWebhookConfiguration ${JSON.stringify(name)}`,
    rbac: `apply ${rbacFile}.`,
  });
  const one = `${path}/${name}`;
  return {
    listing: listingOf(calls, {
      what: `MutatingWebhookConfiguration ${name}`,
      resource,
      path,
      fieldSelector: `metadata.name=${name}`,
      rbacFile,
      read: webhookConfigurationOf,
    }),
    async read() {
      try {
        const found = await calls.call({ method: 'GET', path: one, attempted: attempted('get') });
        return webhookConfigurationOf(objectOf(found));
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
    async setCaBundle({ uid, resourceVersion, asRead }, bundlePem) {
      const caBundle = Buffer.from(bundlePem).toString('base64');
      // A merge patch replaces the list whole: everything else goes back as it was read.
      const webhooks = asRead.map((each) => {
        const webhook = objectOf(each);
        return { ...webhook, clientConfig: { ...objectOf(webhook['clientConfig']), caBundle } };
      });
      const written = await calls.call({
        method: 'PATCH',
        path: one,
        body: { metadata: { uid, resourceVersion }, webhooks },
        attempted: attempted('patch'),
      });
      return webhookConfigurationOf(objectOf(written));
    },
  };
}

export function webhookConfigurationOf(object: Json): WebhookConfiguration {
  const metadata = objectOf(object['metadata']);
  const asRead = listOf(object['webhooks']);
  return {
    uid: needed(metadata['uid'], 'metadata.uid'),
    resourceVersion: needed(metadata['resourceVersion'], 'metadata.resourceVersion'),
    caBundles: asRead.map((each) => {
      const base64 = textOf(objectOf(objectOf(each)['clientConfig'])['caBundle']);
      return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString();
    }),
    asRead,
  };
}
