/**
 * Clients without end: programs of two containers, `node -e`, and what is in their logs. Both read what
 * Podseal's agent keeps in /var/run/podseal, and nothing else.
 */

export const serverPort = 8443;
/** Connections, each with a handshake of its own. */
export const perSecond = 100;

/** A line of the server's log: a certificate, when the agent wrote it, and when it was taken over. */
export interface Taken {
  readonly serial: string;
  readonly writtenAt: number;
  readonly takenAt: number;
}

/** A line of the client's log: the first handshake at an address with a certificate. */
export interface Seen {
  readonly address: string;
  readonly serial: string;
  /** Common name of the CA. */
  readonly issuer: string;
  readonly seenAt: number;
}

/** A line of the client's log, each second. */
export interface Counts {
  readonly started: number;
  readonly answered: number;
  /** Messages, the first few. */
  readonly failures: readonly string[];
  readonly failed: number;
}

/** Says hello, and watches for new files as an application would. */
const serverProgram = `
const { lstatSync, readFileSync, realpathSync, watch } = require('node:fs');
const { X509Certificate } = require('node:crypto');
const directory = '/var/run/podseal';
let serial;
const pair = () => {
  const set = realpathSync(directory + '/..data');
  const cert = readFileSync(set + '/tls.crt');
  const before = serial;
  serial = new X509Certificate(cert).serialNumber;
  const writtenAt = lstatSync(directory + '/..data').mtimeMs;
  if (serial !== before) console.log(JSON.stringify({ serial, writtenAt, takenAt: Date.now() }));
  return { cert, key: readFileSync(set + '/tls.key') };
};
const server = require('node:tls').createServer(pair(), (socket) => {
  socket.on('error', () => undefined);
  socket.end('hello');
});
server.on('tlsClientError', (error) => console.error(error.message));
server.listen(${serverPort});
watch(directory, (event, name) => name === '..data' && server.setSecureContext(pair()));
`;

/** The container of the server; it is ready when it listens. */
export const serverContainer = {
  command: ['node', '-e', serverProgram],
  readinessProbe: { tcpSocket: { port: serverPort }, periodSeconds: 1 },
};

/** Its arguments: the name that the servers must prove, and their addresses, which are asked in turn. */
export const clientProgram = `
const { readFileSync } = require('node:fs');
const tls = require('node:tls');
const [servername, ...addresses] = process.argv.slice(1);
const say = (line) => console.log(JSON.stringify(line));
const seen = new Set();
const failures = [];
let started = 0, answered = 0, failed = 0;
const connect = (host) => {
  const ca = readFileSync('/var/run/podseal/ca.crt');
  let isOver = false;
  const over = (error) => {
    if (isOver) return;
    isOver = true;
    if (!error) return void answered++;
    failed++;
    if (failures.length < 10) failures.push(host + ': ' + (error.code ?? error.message));
  };
  const socket = tls.connect({ host, port: ${serverPort}, servername, ca }, () => {
    const { serialNumber: serial, issuer } = socket.getPeerX509Certificate();
    const key = host + ' ' + serial;
    if (seen.has(key)) return;
    seen.add(key);
    say({ address: host, serial, issuer: issuer.replace(/^[^]*CN=/, ''), seenAt: Date.now() });
  });
  let text = '';
  socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10 s')));
  socket.on('data', (data) => (text += data));
  socket.on('error', over);
  socket.on('close', () => over(text === 'hello' ? undefined : new Error('cut off')));
};
const startedAt = Date.now();
setInterval(() => {
  const due = ((Date.now() - startedAt) / 1000) * ${perSecond};
  while (started < due) connect(addresses[started++ % addresses.length]);
}, 10);
setInterval(() => say({ started, answered, failures, failed }), 1000);
`;

/** The lines of a log that are JSON, of one kind. */
export function linesWith<T extends object>(log: string, field: keyof T & string): readonly T[] {
  return log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as T)
    .filter((line) => field in line);
}
