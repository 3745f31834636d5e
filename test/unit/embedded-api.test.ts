import { randomUUID } from 'node:crypto';
import { certificatesApiContract } from '../contract/certificates-api.ts';
import { startEmbeddedApi } from '../embedded-api/server.ts';

certificatesApiContract('embedded', async () => {
  const api = await startEmbeddedApi();
  const pod = {
    namespace: 'contract',
    name: 'web-0',
    uid: randomUUID(),
    serviceAccount: 'web',
    nodeName: 'node-1',
  };
  return {
    serverUrl: api.serverUrl,
    caPem: api.caPem,
    adminToken: api.addAdministrator(),
    podToken: api.addPod(pod),
    pod,
    tokenWith(rules) {
      const token = randomUUID();
      api.addUser(token, { username: token, uid: token, groups: [], extra: {} }, rules);
      return Promise.resolve(token);
    },
    close: () => api.close(),
  };
});
