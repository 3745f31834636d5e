/** A controller as its command runs it. */
export interface Controller {
  /** Why it cannot serve yet; empty: it can. */
  reasonsNotReady(): readonly string[];
  /** Sets the metrics that are read off rather than counted. */
  updateGauges(): void;
  run(stop: AbortSignal): Promise<void>;
}
