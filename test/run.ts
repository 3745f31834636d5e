import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from './cluster/control-plane.ts';

/**
 * `npm test`: starts one real control plane for all test files, runs them, and at the end searches
 * everything that the program printed for secrets. `npm test -- FILE...` runs these files alone.
 */
const files = process.argv.slice(2);
const patterns = files.length > 0 ? files : ['test/**/*.test.ts'];
const existing = process.env['USE_EXISTING_CLUSTER'] === 'true';
const say = (line: string): void => console.error(`test: ${line}`);

const plane = existing ? undefined : await startControlPlane({ say });
const output = mkdtempSync(join(tmpdir(), 'podseal-test-output-'));
const end = async (): Promise<void> => {
  await plane?.down();
  rmSync(output, { recursive: true, force: true });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void end().then(() => process.exit(130)));

try {
  const child = spawn(
    process.execPath,
    ['--test', '--test-concurrency=3', '--test-timeout=240000', ...patterns],
    {
      stdio: 'inherit',
      env: {
        ...process.env,
        ...(plane?.directory ? { PODSEAL_TEST_CONTROL_PLANE: plane.directory } : {}),
        PODSEAL_TEST_OUTPUT: output,
      },
    },
  );
  const code = await new Promise<number>((resolve) =>
    child.on('close', (exit) => resolve(exit ?? 1)),
  );
  const leaks = secretsIn(output);
  for (const leak of leaks) say(leak);
  process.exitCode = leaks.length > 0 ? 1 : code;
} finally {
  await end();
}

/** A sentence for each file of program output with a PEM block, a token, or a private key in it. */
function secretsIn(directory: string): readonly string[] {
  const secrets = {
    'a PEM block': /-----BEGIN [A-Z ]+-----/,
    'a service account token': /eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/,
    'the base64 of a PEM block': /LS0tLS1CRUdJTi/,
    'an EC private key': /MIGHAgEAMBMGByqGSM49/,
    'an authorization header': /bearer /i,
  };
  const logs = readdirSync(directory);
  say(`searching the output of ${logs.length} program runs for secrets`);
  return logs.flatMap((log) => {
    const text = readFileSync(join(directory, log), 'utf8');
    return Object.entries(secrets)
      .filter(([, pattern]) => pattern.test(text))
      .map(([what]) => `SECRET in program output ${log}: ${what}`);
  });
}
