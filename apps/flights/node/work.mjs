// A worker of apps/flights in node-redis: one consumer of the group, made to be killed.
//
// It records what it counted in its ledger, syncs, and only then acknowledges. What it did not
// acknowledge is delivered again, and the merge of the ledgers counts each entry id once.

import { fdatasyncSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ClientOfflineError, createClient, SocketClosedUnexpectedlyError } from 'redis';

const STREAM = 'flights';
const GROUP = 'delays';
const BANDS = [0, 250, 500, 1000, 2000];
const BLOCK_MS = 1000;
const CLAIM_IDLE_MS = 2000;
const CLAIM_EVERY_MS = 1000;
const AWAY_MAX_MS = 60_000;

const { values: args } = parseArgs({
  options: {
    url: { type: 'string' },
    consumer: { type: 'string' },
    ledger: { type: 'string' },
    batch: { type: 'string', default: '200' },
  },
});
const { consumer } = args;
const COUNT = Number(args.batch);

const ledger = openSync(join(args.ledger, `${consumer}.${process.pid}.ledger`), 'ax');
const client = createClient({ url: args.url, disableOfflineQueue: true });
client.on('error', () => {}); // reported where a command fails; a listener keeps it from throwing
await client.connect();

// Records first, acknowledges second.
async function count(entries) {
  if (entries.length === 0) return;
  const lines = entries.map(({ id, message }) => {
    const band = BANDS.findLast((bound) => bound <= Number(message.distance));
    return `${id} ${band} ${message.delay}\n`;
  });
  writeFileSync(ledger, lines.join(''));
  fdatasyncSync(ledger);
  await client.xAck(STREAM, GROUP, entries.map(({ id }) => id));
}

async function read(id) {
  const options = { COUNT, BLOCK: BLOCK_MS };
  const reply = await client.xReadGroup(GROUP, consumer, { key: STREAM, id }, options);
  const entries = (reply ?? []).flatMap(({ messages }) => messages);
  await count(entries);
  return entries.length;
}

// Takes over what others left pending for too long.
async function claim() {
  let cursor = '0-0';
  let claimed = 0;
  do {
    const options = { COUNT };
    const reply = await client.xAutoClaim(STREAM, GROUP, consumer, CLAIM_IDLE_MS, cursor, options);
    await count(reply.messages);
    claimed += reply.messages.length;
    cursor = reply.nextId;
  } while (cursor !== '0-0');
  if (claimed > 0) console.log(`${consumer}: claimed ${claimed} entries that lay pending`);
}

async function session() {
  await client.xGroupCreate(STREAM, GROUP, '0', { MKSTREAM: true }).catch((error) => {
    if (!error.message.startsWith('BUSYGROUP')) throw error;
  });
  // First what was delivered to this consumer before and never acknowledged.
  while ((await read('0')) > 0);
  let claimedAt = Date.now();
  for (;;) {
    if (Date.now() - claimedAt >= CLAIM_EVERY_MS) {
      await claim();
      claimedAt = Date.now();
    }
    await read('>');
  }
}

// Whether the link broke or the server is still loading; all else is an error.
function passing(error) {
  return (
    error instanceof SocketClosedUnexpectedlyError ||
    error instanceof ClientOfflineError ||
    ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code) ||
    error.message.startsWith('LOADING')
  );
}

let lostAt;
for (;;) {
  try {
    await client.ping();
    lostAt = undefined;
    await session();
  } catch (error) {
    if (!passing(error)) throw error;
    if (lostAt === undefined) {
      lostAt = Date.now();
      console.log(`${consumer}: connection lost, connecting again`);
    }
    if (Date.now() - lostAt > AWAY_MAX_MS) throw error;
    await sleep(50);
  }
}
