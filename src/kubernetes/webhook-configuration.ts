import { PodsealError } from '../errors.ts';
import {
  type WebhookConfiguration,
  type WebhookConfigurations,
} from '../injection/webhook-configuration.ts';
import { type ApiCall, type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textOf } from './json.ts';
import { listingOf } from './listing.ts';

/** Of the one MutatingWebhookConfiguration that is Podseal's. */
export const webhookConfigurationName = 'podseal-injector';

const resource = 'mutatingwebhookconfigurations';
const path = `/apis/admissionregistration.k8s.io/v1/${resource}`;
const rbacFile = 'examples/rbac/injector.yaml';

/** MutatingWebhookConfiguration `podseal-injector` (admissionregistration.k8s.io/v1). */
export function webhookConfigurations(calls: ApiCalls): WebhookConfigurations {
  const attempted = (verb: string): ApiCall['attempted'] => ({
    verb,
    resource,
    what: `MutatingWebhookConfiguration ${JSON.stringify(webhookConfigurationName)}`,
    rbac: `apply ${rbacFile}.`,
  });
  const one = `${path}/${webhookConfigurationName}`;
  return {
    listing: listingOf(calls, {
      what: `MutatingWebhookConfiguration ${webhookConfigurationName}`,
      resource,
      path,
      fieldSelector: `metadata.name=${webhookConfigurationName}`,
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
      await calls.call({
        method: 'PATCH',
        path: one,
        body: { metadata: { uid, resourceVersion }, webhooks },
        attempted: attempted('patch'),
      });
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
