// A worker of a consumer group in node-redis, as in many tutorials, that loses nothing: HOST PORT
// [PROTOCOL].
//
// The blocked read has a connection of its own: on a shared one every other command would wait
// behind it. Entries of a worker that went away are taken over with XAUTOCLAIM. An entry is
// acknowledged after its work is done, so work may be done twice and is never lost.

import * as redis from 'redis';

import { equal, parameters, run, until } from './checks.mjs';

const { host, port, protocol } = parameters();
const [stream, group] = ['orders', 'billing'];
const ORDERS = 200;
// A worker that is silent for so long is taken for dead. Real programs say a minute or more.
const IDLE_MS = 100;

async function connect() {
  const client = redis.createClient({ socket: { host, port }, RESP: protocol });
  client.on('error', (error) => console.error(error.message));
  await client.connect();
  return client;
}

async function ensureGroup(client) {
  try {
    await client.xGroupCreate(stream, group, '0', { MKSTREAM: true });
  } catch (error) {
    if (!error.message.startsWith('BUSYGROUP')) throw error;
  }
}

/** Handles entries until `stopped()`, first what is its own, then orphans and new ones in turn. */
async function work(consumer, handle, stopped) {
  const [client, reader] = [await connect(), await connect()];
  await ensureGroup(client);
  const read = async (id, options) =>
    (await reader.xReadGroup(group, consumer, { key: stream, id }, options))?.[0].messages ?? [];
  const finish = async (entries) => {
    for (const { id, message } of entries) {
      await handle(message);
      await client.xAck(stream, group, id);
    }
  };
  await finish(await read('0', {}));
  while (!(await stopped(client))) {
    const orphans = await client.xAutoClaim(stream, group, consumer, IDLE_MS, '0-0', { COUNT: 10 });
    await finish(orphans.messages.filter((entry) => entry !== null));
    await finish(await read('>', { COUNT: 10, BLOCK: 50 }));
  }
  await client.quit();
  await reader.quit();
}

async function nothingLeft(client) {
  const [info] = await client.xInfoGroups(stream);
  const [last] = await client.xRevRange(stream, '+', '-', { COUNT: 1 });
  const delivered = info.lastDeliveredId ?? info['last-delivered-id'];
  return info.pending === 0 && delivered === last.id;
}

const client = await connect();
await client.flushAll();

async function sharesTheWork() {
  await ensureGroup(client);
  await ensureGroup(client);
  const ids = [...Array(ORDERS).keys()].map((number) => client.xAdd(stream, '*', { number: `${number}` }));
  await Promise.all(ids);
  // One that takes entries and is gone before it acknowledges.
  const lost = await connect();
  await lost.xReadGroup(group, 'lost', { key: stream, id: '>' }, { COUNT: 25 });
  await lost.disconnect();
  const seen = new Map();
  const handle = (message) => seen.set(message.number, (seen.get(message.number) ?? 0) + 1);
  await Promise.all(['one', 'two', 'three'].map((name) => work(name, handle, nothingLeft)));
  equal([...seen.keys()].map(Number).sort((a, b) => a - b), [...Array(ORDERS).keys()]);
}

async function leavesNothingPending() {
  equal((await client.xPending(stream, group)).pending, 0);
  const consumers = await client.xInfoConsumers(stream, group);
  equal(consumers.map((one) => one.name).sort(), ['lost', 'one', 'three', 'two']);
  await until('all is acknowledged', () => nothingLeft(client));
}

await run([
  ['three workers share the work and take over what was lost', sharesTheWork],
  ['leaves nothing pending', leavesNothingPending],
]);
