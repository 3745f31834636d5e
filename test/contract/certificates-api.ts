import { after, before, describe } from 'node:test';
import { accessContract } from './access.ts';
import { newBench, type ContractApi } from './bench.ts';
import { changesContract } from './changes.ts';
import { creationContract } from './creation.ts';
import { otherKindsContract } from './other-kinds.ts';
import { readingContract } from './reading.ts';
import { watchingContract } from './watching.ts';

/**
 * What certificates.k8s.io/v1 promises, and what approver and signer need of other kinds, as far as
 * the embedded API offers it. Run against that and against a real API server, so that neither the fast
 * tests nor the demo rest on a guess.
 */
export function certificatesApiContract(name: string, start: () => Promise<ContractApi>): void {
  describe(`certificates API: ${name}`, () => {
    const bench = newBench(start);
    before(bench.open);
    after(bench.close);
    accessContract(bench);
    creationContract(bench);
    readingContract(bench);
    changesContract(bench);
    watchingContract(bench);
    otherKindsContract(bench);
  });
}
