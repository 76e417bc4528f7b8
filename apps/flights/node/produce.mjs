// The producer of apps/flights in node-redis: one connection, XADDs pipelined by the client.
//
// Record n is entry n-0, so a batch whose answers got lost can be sent again: the server refuses
// the ids it has already ("equal or smaller").

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ClientOfflineError, createClient, SocketClosedUnexpectedlyError } from 'redis';

const STREAM = 'flights';
const AWAY_MAX_MS = 60_000;

const { values: args } = parseArgs({
  options: {
    url: { type: 'string' },
    file: { type: 'string' },
    records: { type: 'string' },
    batch: { type: 'string', default: '500' },
  },
});

// Without the offline queue: when the link breaks in the middle of a batch, it would keep the
// commands not yet written and send them, after the reconnect, before the batch is sent again.
const client = createClient({ url: args.url, disableOfflineQueue: true });
client.on('error', () => {}); // reported where the batch fails; a listener keeps it from throwing
await client.connect();

// Whether the link broke or the server is still loading; all else is an error.
function passing(error) {
  return (
    error instanceof SocketClosedUnexpectedlyError ||
    error instanceof ClientOfflineError ||
    ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code) ||
    error.message.startsWith('LOADING')
  );
}

// Commands issued in the same tick leave as one pipeline.
async function send(first, batch) {
  const outcomes = await Promise.allSettled(
    batch.map(({ delay, distance, time }, i) =>
      client.xAdd(STREAM, `${first + i}-0`, {
        delay: String(delay),
        distance: String(distance),
        time: String(time),
      }),
    ),
  );
  const errors = outcomes
    .filter(({ status, reason }) => status === 'rejected' && !/equal or smaller/.test(reason))
    .map(({ reason }) => reason);
  const refused = errors.find((error) => !passing(error));
  if (refused) throw refused;
  return errors.length === 0;
}

// Until PONG: a server that still loads may refuse the head of a batch and take its tail.
async function waitForServer() {
  const deadline = Date.now() + AWAY_MAX_MS;
  for (;;) {
    try {
      return await client.ping();
    } catch (error) {
      if (!passing(error) || Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

const records = JSON.parse(readFileSync(args.file, 'utf8')).slice(
  0,
  args.records === undefined ? undefined : Number(args.records),
);
const size = Number(args.batch);

await waitForServer();
for (let start = 0; start < records.length; start += size) {
  while (!(await send(start + 1, records.slice(start, start + size)))) {
    console.log(`producer: connection lost, sending again from record ${start + 1}`);
    await waitForServer();
  }
}
console.log(`producer: all ${records.length} records are acknowledged`);
client.destroy();
