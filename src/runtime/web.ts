/** One answer of a web server. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export function plainText(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

/** Where to listen; port 0 takes a free one. */
export interface ListenAddress {
  /** Undefined: every address of the pod. */
  readonly host: string | undefined;
  readonly port: number;
}
