import {
  attachControlPlane,
  existingCluster,
  type ControlPlane,
} from '../cluster/control-plane.ts';

/** The control plane that `npm test` started for all test files; an Error says so when there is none. */
export function sharedControlPlane(): ControlPlane {
  if (process.env['USE_EXISTING_CLUSTER'] === 'true') return existingCluster();
  const directory = process.env['PODSEAL_TEST_CONTROL_PLANE'];
  if (!directory)
    throw new Error(
      'Cannot run this test alone: it needs a real API server. Run: npm test -- test/integration/NAME.test.ts',
    );
  return attachControlPlane(directory);
}
