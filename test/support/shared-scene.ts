import { type TestContext } from 'node:test';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { podScene, type PodScene } from './pod-scene.ts';

/** A scene that ends with the test. */
export async function sceneFor(
  context: TestContext,
  plane: ControlPlane,
  spec: Parameters<typeof podScene>[1] = {},
): Promise<PodScene> {
  const scene = await podScene(plane, spec);
  context.after(() => scene.close());
  return scene;
}

/** Approves and signs everything in the background until the test ends. */
export function approveAll(
  context: TestContext,
  scene: PodScene,
  alter?: Parameters<PodScene['administrator']['serve']>[2],
): { stop(): void } {
  const stopping = new AbortController();
  const served = scene.administrator.serve(() => scene.ca, stopping.signal, alter);
  context.after(async () => {
    stopping.abort();
    await served;
  });
  return { stop: () => stopping.abort() };
}
