/**
 * What the files that Kubernetes puts into a pod say: the downward API's label and annotation
 * files, /etc/hosts and /etc/resolv.conf. All take the file's text.
 */

/**
 * A downward API file of labels or annotations: one `key="value"` per line, the value quoted as Go's
 * strconv.Quote does (pkg/fieldpath/fieldpath.go). Throws an Error naming the line that is not so.
 */
export function parseDownwardMap(text: string): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const [, key, quoted] = /^([^=]+)=("(?:[^"\\]|\\.)*")$/.exec(line) ?? [];
    if (key === undefined || quoted === undefined)
      throw new Error(`line ${index + 1} is not key="value"`);
    map.set(key, unquoteGo(quoted));
  }
  return map;
}

const goEscapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

function unquoteGo(quoted: string): string {
  return quoted
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g, (...match: string[]) => {
      const [, x, u, long, plain = ''] = match as (string | undefined)[];
      const hex = x ?? u ?? long;
      if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16));
      return goEscapes[plain] ?? plain;
    });
}

/**
 * The cluster domain from resolv.conf's search list: the kubelet writes `NS.svc.DOMAIN` into it for
 * dnsPolicy ClusterFirst. Undefined when the pod uses another policy. The last `search` line counts.
 */
export function clusterDomainOf(resolvConf: string, namespace: string): string | undefined {
  const search = resolvConf.split('\n').findLast((line) => /^search\s/.test(line));
  const prefix = `${namespace}.svc.`;
  const entry = search?.split(/\s+/).find((each) => each.startsWith(prefix));
  return entry?.slice(prefix.length).replace(/\.$/, '').toLowerCase();
}

export interface HostAndSubdomain {
  readonly hostname: string;
  readonly subdomain: string;
}

/**
 * The pod's hostname and subdomain from /etc/hosts: for a pod that has both, the kubelet writes
 * `IP HOSTNAME.SUBDOMAIN.NS.svc.DOMAIN HOSTNAME`. Undefined when the pod has no subdomain.
 */
export function hostAndSubdomainOf(hosts: string, namespace: string): HostAndSubdomain | undefined {
  for (const line of hosts.split('\n')) {
    const [, fqdn = '', hostname] = line.replace(/#.*/, '').trim().split(/\s+/);
    const [first, subdomain, ns, svc] = fqdn.split('.');
    const isOurs = ns === namespace && svc === 'svc' && first === hostname;
    if (isOurs && hostname !== undefined && subdomain !== undefined) return { hostname, subdomain };
  }
  return undefined;
}
