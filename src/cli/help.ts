import {
  type ApproverSettingName,
  approverSettings,
  type InjectorSettingName,
  injectorSettings,
  type SignerSettingName,
  signerSettings,
} from './controller-settings.ts';
import { agentSettings, type SettingName } from './settings.ts';

/** What each setting of the agent is for. README has the same table, and a test compares the two. */
export const settingsHelpTexts: Readonly<Record<SettingName, string>> = {
  PODSEAL_SIGNER_NAME: 'Signer name of the signing requests.',
  PODSEAL_DIR: 'Directory that the application reads: tls.key, tls.crt, ca.crt.',
  PODSEAL_SERVICES:
    'Services that the pod belongs to, comma-separated; set and empty: none. First source of names.',
  PODSEAL_SERVICES_FILE:
    'A mounted services.json; Services whose selector matches the labels of the pod are its own. Last source of names, after the annotation podseal.dev/services.',
  PODSEAL_POD_INFO_DIR: 'Directory with the downward API files labels and annotations.',
  PODSEAL_DNS_NAMES: 'Extra DNS names, comma-separated; the approver decides by policy.',
  PODSEAL_IP_ADDRESSES: 'Extra IP addresses, comma-separated; the approver decides by policy.',
  PODSEAL_NAME_FORMS:
    'Further forms of Service names to ask for: svc.ns, svc, pod (comma-separated).',
  PODSEAL_CLUSTER_DOMAIN: 'DNS domain of the cluster.',
  PODSEAL_TRUST_DOMAIN:
    'Trust domain of the identity URI spiffe://TRUST_DOMAIN/ns/NS/sa/SERVICE_ACCOUNT.',
  PODSEAL_COMMON_NAME: 'true: the first DNS name of at most 64 characters is the common name too.',
  PODSEAL_KEY_ALGORITHM: 'ECDSAP256, ECDSAP384, ED25519, RSA2048, RSA3072 or RSA4096.',
  PODSEAL_KEY_MODE:
    'Permission bits of files that hold the private key: octal, readable by the owner.',
  PODSEAL_LIFETIME: 'Lifetime to ask for, at least 10m; a signer may issue shorter.',
  PODSEAL_TRUST_FILES: 'PEM files of trusted roots, comma-separated; ca.crt is their union.',
  PODSEAL_FORMATS:
    'Further files, comma-separated: combined (tls-combined.pem), pkcs12 (keystore.p12, truststore.p12).',
  PODSEAL_STORE_PASSWORD_FILE:
    'File with the password of the PKCS#12 stores; needed with the format pkcs12.',
  PODSEAL_TIMEOUT:
    'Longest wait of one attempt; the next one resumes the same request. Hours where people approve.',
  PODSEAL_HOOK_SIGNAL:
    'Tells the application of a new set: process name and signal, like nginx:HUP. Needs shareProcessNamespace and the user of that process.',
  PODSEAL_HOOK_HTTP:
    'Tells the application of a new set: a call of its loopback address, like POST http://127.0.0.1:9090/-/reload. 2xx means done.',
  PODSEAL_HOOK_TIMEOUT: 'Longest time of one attempt of a hook; there are five within a minute.',
  PODSEAL_PROBE:
    'Where the application serves the certificate, like 127.0.0.1:8443: looked at by a TLS handshake and compared with the volume.',
  PODSEAL_SERVICE_ACCOUNT_DIR: 'Directory with token and ca.crt for the API server.',
  PODSEAL_LISTEN: 'Address of /healthz, /readyz, /metrics and /status of podseal watch, or off.',
  PODSEAL_LOG_LEVEL: 'debug, info, warn or error.',
};

/** What each setting of approver and signer is for; README has these tables too. */
export const controllerHelpTexts: Readonly<
  Record<ApproverSettingName | SignerSettingName, string>
> = {
  PODSEAL_SIGNER_NAMES: 'Signer names looked after, comma-separated.',
  PODSEAL_CLUSTER_DOMAIN: 'DNS domain of the cluster.',
  PODSEAL_TRUST_DOMAIN:
    'Trust domain of the identity URI spiffe://TRUST_DOMAIN/ns/NS/sa/SERVICE_ACCOUNT.',
  PODSEAL_MAX_LIFETIME: 'Longest lifetime that may be asked for; more is denied.',
  PODSEAL_WORKERS: 'Requests handled at once. There is no other limit on the rate of calls.',
  PODSEAL_LEASE:
    'How long a replica that died holds up the others; off: every replica works, without a lease.',
  PODSEAL_WATCH_IDLE:
    'A watch that is silent for so long is begun anew; the API server says something every minute.',
  PODSEAL_RELIST: 'Everything is listed anew after so long, whatever the watch says.',
  PODSEAL_SERVICE_ACCOUNT_DIR: 'Directory with token and ca.crt for the API server.',
  PODSEAL_LOG_LEVEL: 'debug, info, warn or error.',
  PODSEAL_POLICY:
    'Policy file, YAML or JSON (docs/policy.md), followed when it changes; none: names that follow from pods and Services, nothing else.',
  PODSEAL_LISTEN: 'Address of /healthz, /readyz and /metrics, or off.',
  PODSEAL_CA_SECRET:
    'Secret with the CA in POD_NAMESPACE: tls.crt, tls.key, and the root in ca.crt for an intermediate. Made on first start where there is none.',
  PODSEAL_CA_IP_RANGES:
    'Addresses that a CA made on first start may vouch for, comma-separated; none: no address.',
  PODSEAL_CA_SETTLE:
    'How long a changed bundle is out before the CA that it announces signs: the kubelet takes a minute to hand it on.',
  PODSEAL_MAX_OPEN_REQUESTS:
    'Unfinished and denied requests that one pod may have; the excess is removed at once.',
  PODSEAL_CLUSTER_ROLE:
    'ClusterRole of the signer: the bundles that it publishes go with it when Podseal is uninstalled.',
};

/** What each setting of the injector is for, where it means something else there. */
export const injectorHelpTexts: Readonly<Record<InjectorSettingName, string>> = {
  ...controllerHelpTexts,
  PODSEAL_AGENT_IMAGE: 'Image of the agents that are added; must be set.',
  PODSEAL_SIGNER_NAME: 'Signer name that agents ask.',
  PODSEAL_WRONG_ANNOTATIONS:
    'refuse: a pod with a wrong annotation is not created; warn: it is created without what is wrong.',
  PODSEAL_NATIVE_SIDECARS:
    'true: the agent is a native sidecar; false: an init container and a container; auto: by the version of the API server.',
  PODSEAL_CLUSTER_TRUST_BUNDLE:
    'true: agents mount the ClusterTrustBundle; false: the ConfigMap podseal-trust; auto: by what the API server has.',
  PODSEAL_SWEEP: 'How often pods that slipped through are looked for.',
  PODSEAL_WORKERS: 'Namespaces published to at once.',
  PODSEAL_DIR: 'Directory with the certificate of the webhook, where an agent keeps it.',
  PODSEAL_WEBHOOK_LISTEN: 'Address of the webhook, HTTPS.',
  PODSEAL_WEBHOOK_CONFIGURATION:
    'MutatingWebhookConfiguration whose caBundle is kept; what is published goes with it.',
};

const usage = `Podseal gives a pod a TLS certificate for exactly the names it serves, and keeps it fresh.

Usage: podseal COMMAND

In a pod:
  init            obtain one certificate, then exit (init container)
  watch           obtain, renew, follow names and trust until told to stop (sidecar)

In a Deployment:
  approver        approve or deny requests: every name proved against live pods and Services
  signer          issue approved requests from a CA, publish its bundle, remove what is finished
  injector        add the agent to pods (mutating webhook), publish Services and trust bundle

For people:
  status [POD...] print each pod's state, time left, names and last error; exit 1 when one is not fine
  approver --explain FILE   print the verdict on a saved request, rule by rule; changes nothing
  names           print each name the pod would ask for, and where it comes from
  inspect [DIR]   print what is on the volume; exit 1 when an application could not use it
  help settings   print every setting (environment variables)

Options:
  -o, --output json   names, inspect and status: JSON instead of a table
  -h, --help          this text, or that of a command
      --version       the version

Exit codes: 0 done, 1 not usable (inspect) or not fine (status), 64 wrong usage, 69 API unreachable,
71 cannot listen, 73 volume not writable, 75 try again later, 76 certificate not acceptable,
77 denied or forbidden, 78 settings. docs/operations.md explains each error.
`;

const commandHelp: Readonly<Record<string, string>> = {
  init: `Usage: podseal init

Obtains one certificate and exits 0 once a usable key, chain and trust bundle for the names of now
are on the volume. Resumes the request of an earlier run. Settings: podseal help settings
`,
  watch: `Usage: podseal watch

Keeps the certificate fresh until SIGTERM, and tells the application of new ones where a hook is set.
Serves /healthz, /readyz, /metrics and /status on PODSEAL_LISTEN.
Exits non-zero after the certificate expired and could not be renewed. Settings: podseal help settings
`,
  names: `Usage: podseal names [-o json]

Prints each DNS name, address and URI that the pod would ask for, and where each comes from.
Talks to nobody.
`,
  approver: `Usage: podseal approver
       podseal approver --explain FILE [-o json]

Decides about the requests of PODSEAL_SIGNER_NAMES: approves what passes every rule, denies what can
never become right, waits for what may (docs/approval.md). Of several replicas the one with the lease
decides. Needs examples/rbac/approver.yaml. Serves /healthz, /readyz and /metrics on PODSEAL_LISTEN.

--explain prints the verdict on a saved request (kubectl get csr NAME -o yaml), rule by rule, and
changes nothing. Pod, Services and Nodes are taken from FILE where it holds them, else from the
API. Exits 0 when it would be approved, 1 when not.
`,
  signer: `Usage: podseal signer

Issues approved requests of PODSEAL_SIGNER_NAMES from the CA in PODSEAL_CA_SECRET, which is made on
first start. Publishes its bundle as ConfigMap podseal-trust and as ClusterTrustBundle. Removes
finished requests of its signer names. Of several replicas the one with the lease works. Needs
examples/rbac/signer.yaml. Serves /healthz, /readyz and /metrics on PODSEAL_LISTEN.
`,
  injector: `Usage: podseal injector

Answers the API server about pods that are being created, adds the agent to those that ask for it by
label (docs/injection.md), and keeps ConfigMaps podseal-services and podseal-trust in their namespaces.
Every replica answers; the one with the lease publishes. Needs examples/rbac/injector.yaml and, in
PODSEAL_DIR, the certificate that an agent in its own pod keeps. Serves the webhook on
PODSEAL_WEBHOOK_LISTEN, and /healthz, /readyz and /metrics on PODSEAL_LISTEN.
`,
  status: `Usage: podseal status [POD...] [-n NAMESPACE | -A] [-l SELECTOR] [-o wide|json]

One row for each pod that has an agent or should have one: state, time left, names, last error. Below
it, for each pod that is not fine, why, and what to do. Asks the agents through the API server, so it
runs wherever kubectl does: KUBECONFIG, or ~/.kube/config. Pods that are named are always shown.

  -n, --namespace NAMESPACE   instead of that of the kubeconfig's context
  -A, --all-namespaces        all of them
  -l, --selector SELECTOR     pods with these labels, as kubectl takes it
  -o, --output wide           issuer, serial, renewal, what the application serves, version too
  -o, --output json           an array with an object for each pod

Exits 0 when all are fine, 1 when one is not. Needs examples/rbac/status.yaml; docs/status.md explains
each state.
`,
  inspect: `Usage: podseal inspect [DIR] [-o json]

Prints what is on the volume: names, issuer, validity, days left, whether key and chain fit. DIR is
PODSEAL_DIR by default. Exits 1 when an application could not use it.
`,
};

export function helpFor(command: string | undefined): string | undefined {
  if (command === undefined) return usage;
  if (command === 'settings') return settingsHelp();
  return commandHelp[command];
}

function settingsHelp(): string {
  return [
    ['init, watch and names', agentSettings, settingsHelpTexts] as const,
    ['approver', approverSettings, controllerHelpTexts] as const,
    ['signer', signerSettings, controllerHelpTexts] as const,
    ['injector', injectorSettings, injectorHelpTexts] as const,
  ]
    .map(([who, defaults, texts]) => {
      const rows = Object.entries<string>(defaults).map(([name, fallback]) => {
        const shown = fallback === '' ? '' : ` (default: ${fallback})`;
        return `  ${name}\n      ${(texts as Readonly<Record<string, string>>)[name] ?? ''}${shown}`;
      });
      return `Settings of ${who} (environment variables):\n${rows.join('\n')}\n`;
    })
    .join('\n');
}
