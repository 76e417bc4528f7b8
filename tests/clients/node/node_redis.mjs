// Everything that node-redis does with streams, through its own methods: HOST PORT [PROTOCOL].
//
// The same file runs under node-redis 4 and 6. Version 4 speaks RESP2 only, and names a few things
// in another way. The order matters: later checks use what earlier ones left in the streams.

import * as redis from 'redis';

import { equal, inbox, parameters, raises, run, until } from './checks.mjs';

const { host, port, protocol } = parameters();
const IS_V4 = redis.RESP_TYPES === undefined;

async function connect(options = {}) {
  const client = redis.createClient({ socket: { host, port }, RESP: protocol, ...options });
  // Without a listener a lost connection would end the process. The client connects again.
  client.on('error', () => {});
  await client.connect();
  return client;
}

const client = await connect();
await client.flushAll();

async function blockedCount(count) {
  await until(`${count} blocked clients`, async () =>
    (await client.info('clients')).includes(`blocked_clients:${count}\r\n`));
}

async function greeting() {
  equal(await client.ping(), 'PONG');
  const me = await client.sendCommand(['CLIENT', 'INFO']);
  equal(me.match(/ resp=(\d)/)[1], String(protocol));
}

async function publish() {
  equal(await client.xAdd('s', '1-1', { n: '1' }), '1-1');
  equal(await client.xAdd('s', '1-*', { n: '2', m: 'two' }), '1-2');
  const pipeline = client.multi();
  for (let number = 3; number < 103; number += 1) pipeline.xAdd('s', `${number}-0`, { n: `${number}` });
  const ids = await pipeline.execAsPipeline();
  equal([ids.length, ids[0], ids[99]], [100, '3-0', '102-0']);
  // Commands of one turn of the event loop leave together.
  const numbers = [...Array(50).keys()];
  const sent = await Promise.all(numbers.map((number) => client.xAdd('auto', '*', { n: `${number}` })));
  equal((await client.xRange('auto', '-', '+')).map((entry) => entry.id), sent);
  equal(await client.xLen('s'), 102);
  const absent = IS_V4
    ? await client.xAdd('absent', '*', { n: '1' }, { NOMKSTREAM: true })
    : await client.xAddNoMkStream('absent', '*', { n: '1' });
  equal(absent, null);
}

const TWO = [
  { id: '1-1', message: { n: '1' } },
  { id: '1-2', message: { n: '2', m: 'two' } },
];

async function range() {
  equal(await client.xRange('s', '-', '+', { COUNT: 2 }), TWO);
  equal((await client.xRange('s', '(1-1', '3')).map((entry) => entry.id), ['1-2', '3-0']);
  equal((await client.xRevRange('s', '+', '-', { COUNT: 1 }))[0].id, '102-0');
  equal(await client.xRead({ key: 's', id: '101-0' }), [
    { name: 's', messages: [{ id: '102-0', message: { n: '102' } }] },
  ]);
  equal(await client.xRead({ key: 's', id: '102-0' }), null);
  const stream = await client.xInfoStream('s');
  equal([stream.length, stream.firstEntry ?? stream['first-entry']], [102, TWO[0]]);
}

async function group() {
  equal(await client.xGroupCreate('s', 'g', '0'), 'OK');
  await raises('BUSYGROUP Consumer Group name already exists', client.xGroupCreate('s', 'g', '0'));
  equal(await client.xGroupCreate('made', 'g', '$', { MKSTREAM: true }), 'OK');
  const read = (id, COUNT) => client.xReadGroup('g', 'alice', { key: 's', id }, { COUNT });
  const [{ messages }] = await read('>', 3);
  equal(messages, [...TWO, { id: '3-0', message: { n: '3' } }]);
  equal((await read('0', 10))[0].messages, messages);
  const [info] = await client.xInfoGroups('s');
  equal([info.name, info.pending, info.consumers], ['g', 3, 1]);
  const [consumer] = await client.xInfoConsumers('s', 'g');
  equal([consumer.name, consumer.pending], ['alice', 3]);
}

async function blocked() {
  await client.xGroupCreate('w', 'g', '$', { MKSTREAM: true });
  // A blocked read holds its connection, so each reader has its own.
  const [plain, grouped] = [await connect(), await connect()];
  const read = plain.xRead({ key: 'w', id: '$' }, { BLOCK: 0 });
  const readGroup = grouped.xReadGroup('g', 'c', { key: 'w', id: '>' }, { BLOCK: 20_000 });
  await blockedCount(2);
  await client.xAdd('w', '5-5', { wake: 'up' });
  const expected = [{ name: 'w', messages: [{ id: '5-5', message: { wake: 'up' } }] }];
  equal(await read, expected);
  equal(await readGroup, expected);
  equal(await plain.xRead({ key: 'w', id: '$' }, { BLOCK: 10 }), null);
  await plain.disconnect();
  await grouped.disconnect();
}

async function pending() {
  equal(await client.xPending('s', 'g'), {
    pending: 3, firstId: '1-1', lastId: '3-0', consumers: [{ name: 'alice', deliveriesCounter: 3 }],
  });
  const [first] = await client.xPendingRange('s', 'g', '-', '+', 1, { consumer: 'alice' });
  equal([first.id, first.consumer ?? first.owner, first.deliveriesCounter], ['1-1', 'alice', 2]);
}

async function claim() {
  equal(await client.xClaim('s', 'g', 'bob', 0, '1-1'), [TWO[0]]);
  equal(await client.xClaimJustId('s', 'g', 'bob', 0, ['1-2']), ['1-2']);
  const claimed = await client.xAutoClaim('s', 'g', 'dave', 0, '2-0', { COUNT: 5 });
  equal([claimed.nextId, claimed.messages.map((entry) => entry.id)], ['0-0', ['3-0']]);
  equal((await client.xAutoClaim('s', 'g', 'dave', 3_600_000, '0')).messages, []);
}

async function acknowledge() {
  equal(await client.xAck('s', 'g', ['1-1', '1-2', '99-9']), 2);
  equal(await client.xGroupDelConsumer('s', 'g', 'dave'), 1);
  equal((await client.xPending('s', 'g')).pending, 0);
  equal(await client.xGroupSetId('s', 'g', '102-0'), 'OK');
  equal(await client.xReadGroup('g', 'erin', { key: 's', id: '>' }), null);
  equal(Number(await client.xGroupDestroy('made', 'g')), 1);
}

async function trimAndDelete() {
  equal(await client.xDel('s', ['1-1', '99-9']), 1);
  equal(await client.xTrim('s', 'MAXLEN', 50), 51);
  equal(await client.xTrim('s', 'MINID', '60-0'), 7);
  const TRIM = { strategy: 'MAXLEN', strategyModifier: '=', threshold: 10 };
  equal(await client.xAdd('s', '103-0', { n: '103' }, { TRIM }), '103-0');
  equal(await client.xLen('s'), 10);
  equal(await client.del(['s', 'w', 'absent']), 2);
}

async function publishAndSubscribe() {
  const subscriber = await connect();
  const messages = inbox();
  await subscriber.subscribe('news', (message, channel) => messages.put([channel, message]));
  await subscriber.pSubscribe('room.*', (message, channel) => messages.put([channel, message]), true);
  equal(await client.pubSubChannels(), ['news']);
  equal(await client.publish('news', 'hello'), 1);
  equal(await messages.next(), ['news', 'hello']);
  await client.publish('room.7', Buffer.from([0, 255]));
  equal(await messages.next(), [Buffer.from('room.7'), Buffer.from([0, 255])]);
  await subscriber.unsubscribe('news');
  await subscriber.pUnsubscribe('room.*');
  equal(await client.publish('news', 'gone'), 0);
  // After a subscription that asked for buffers, version 6 answers PING with one.
  equal(String(await subscriber.ping()), 'PONG');
  await subscriber.disconnect();
}

async function transaction() {
  const replies = await client.multi().xAdd('t', '1-0', { n: '1' }).set('count', '1').incr('count').exec();
  equal(replies, ['1-0', 'OK', 2]);
  const one = await connect();
  await one.watch('count');
  await client.incr('count');
  const error = await one.multi().xAdd('t', '*', { n: '2' }).exec().catch((thrown) => thrown);
  equal(error instanceof redis.WatchError, true);
  equal(await client.xLen('t'), 1);
  await one.watch('count');
  equal(await one.multi().incr('count').exec(), [4]);
  await one.disconnect();
  // A failed command of a transaction does not undo the others.
  const failed = await client.multi().set('count', '9').xAdd('count', '*', { n: '1' }).exec()
    .catch((thrown) => thrown);
  equal(failed.errorIndexes, [1]);
  equal(await client.get('count'), '9');
}

async function strings() {
  equal(await client.set('k', 'v', { EX: 100 }), 'OK');
  equal((await client.ttl('k')) > 98, true);
  equal(await client.set('k', 'other', { NX: true }), null);
  equal(Boolean(await client.persist('k')), true);
  equal(await client.incrBy('n', 5), 5);
  equal(await client.mGet(['k', 'absent', 'n']), ['v', null, '5']);
  await client.set('short', 'x', { PX: 1 });
  await until('the key has expired', async () => (await client.exists('short')) === 0);
}

async function binary() {
  const bytes = Buffer.from([...Array(256).keys()]);
  const buffers = IS_V4
    ? (key) => client.xRange(redis.commandOptions({ returnBuffers: true }), key, '-', '+')
    : (key) => client.withTypeMapping({ [redis.RESP_TYPES.BLOB_STRING]: Buffer }).xRange(key, '-', '+');
  await client.xAdd('b', '1-0', { all: bytes, none: Buffer.alloc(0) });
  const large = Buffer.alloc(1 << 20, bytes);
  await client.xAdd('b', '2-0', { large });
  const [first, second] = await buffers('b');
  equal([first.message.all, first.message.none], [bytes, Buffer.alloc(0)]);
  equal(Buffer.compare(second.message.large, large), 0);
  await client.xAdd('utf', '1-0', { 'på': 'Ærøskøbing ✓' });
  equal((await client.xRange('utf', '-', '+'))[0].message, { 'på': 'Ærøskøbing ✓' });
}

async function errors() {
  await client.set('string', 'x');
  const wrong = 'WRONGTYPE Operation against a key holding the wrong kind of value';
  const error = await raises(wrong, client.xAdd('string', '*', { n: '1' }));
  equal(error instanceof redis.ErrorReply, true);
  await raises(
    "NOGROUP No such key 'b' or consumer group 'no' in XREADGROUP with GROUP option",
    client.xReadGroup('no', 'c', { key: 'b', id: '>' }));
  await raises(
    'ERR The ID specified in XADD is equal or smaller than the target stream top item',
    client.xAdd('b', '1-0', { n: '1' }));
  await raises("ERR unknown command 'NOSUCH', with args beginning with: 'a'",
    client.sendCommand(['NOSUCH', 'a']));
}

async function reconnectAndQuit() {
  const one = await connect({ name: 'victim' });
  const number = await one.clientId();
  equal(await one.clientGetName(), 'victim');
  const ready = new Promise((resolve) => { one.once('ready', resolve); });
  equal(await client.clientKill({ filter: 'ID', id: number }), 1);
  await ready;
  equal((await one.clientId()) > number, true);
  equal(await one.clientGetName(), 'victim');
  equal(await one.quit(), 'OK');
  equal(one.isOpen, false);
}

await run([
  ['greeting', greeting],
  ['publish', publish],
  ['range', range],
  ['group', group],
  ['blocked reads', blocked],
  ['pending', pending],
  ['claim', claim],
  ['acknowledge', acknowledge],
  ['trim and delete', trimAndDelete],
  ['publish and subscribe', publishAndSubscribe],
  ['transaction', transaction],
  ['strings', strings],
  ['binary data', binary],
  ['errors', errors],
  ['reconnect and quit', reconnectAndQuit],
]);
