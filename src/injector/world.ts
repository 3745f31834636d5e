import { type ReplicaConfig, type ReplicaWorld } from '../controller/replica.ts';
import { type InjectionSettings } from './inject.ts';
import { type PublicationsConfig, type PublicationsWorld } from './publications-world.ts';

export interface InjectorConfig extends ReplicaConfig, PublicationsConfig {}

/** What the injector needs of the outside. */
export interface InjectorWorld extends ReplicaWorld, PublicationsWorld {
  /** With what the API server can do now. Throws PodsealErrors. */
  injectionSettings(): Promise<InjectionSettings>;
  /** Whether the service account may create signing requests. Throws PodsealErrors. */
  mayAsk(namespace: string, serviceAccount: string): Promise<boolean>;
}
