// Everything that ioredis does with streams: HOST PORT [PROTOCOL].
//
// ioredis passes arguments on as they are and answers streams as nested arrays of strings; methods
// whose names end in `Buffer` answer bytes. The order matters: later checks use what earlier ones
// left in the streams.

import { Redis } from 'ioredis';

import { equal, inbox, parameters, raises, run, until } from './checks.mjs';

const { host, port, protocol } = parameters();

function connect(options = {}) {
  const client = new Redis({ host, port, protocol, ...options });
  // Without a listener a lost connection is reported on the console.
  client.on('error', () => {});
  return client;
}

const client = connect();
await client.flushall();

async function greeting() {
  equal(await client.ping(), 'PONG');
  equal((await client.client('INFO')).match(/ resp=(\d)/)[1], String(protocol));
  equal(client.status, 'ready');
}

/** Pairs of a flat reply, or of a map in RESP3, as an object. */
function fields(reply) {
  if (reply instanceof Map) return Object.fromEntries(reply);
  if (!Array.isArray(reply)) return reply;
  const pairs = reply.flatMap((name, at) => (at % 2 === 0 ? [[name, reply[at + 1]]] : []));
  return Object.fromEntries(pairs);
}

/** The entries of the only stream in a reply of XREAD or XREADGROUP. */
function entriesOf(reply) {
  const streams = Array.isArray(reply) ? reply : Object.entries(fields(reply));
  equal(streams.length, 1);
  return streams[0][1];
}

async function publish() {
  equal(await client.xadd('s', '1-1', 'n', 1), '1-1');
  equal(await client.xadd('s', '1-*', 'n', 2, 'm', 'two'), '1-2');
  const pipeline = client.pipeline();
  for (let number = 3; number < 103; number += 1) pipeline.xadd('s', `${number}-0`, 'n', number);
  const replies = await pipeline.exec();
  equal(replies.map(([error, id]) => [error, id])[99], [null, '102-0']);
  equal(await client.xlen('s'), 102);
  equal(await client.xadd('absent', 'NOMKSTREAM', '*', 'n', 1), null);
}

const TWO = [['1-1', ['n', '1']], ['1-2', ['n', '2', 'm', 'two']]];

async function range() {
  equal(await client.xrange('s', '-', '+', 'COUNT', 2), TWO);
  equal((await client.xrange('s', '(1-1', '3')).map(([id]) => id), ['1-2', '3-0']);
  equal((await client.xrevrange('s', '+', '-', 'COUNT', 1))[0][0], '102-0');
  equal(entriesOf(await client.xread('STREAMS', 's', '101-0')), [['102-0', ['n', '102']]]);
  equal(await client.xread('STREAMS', 's', '102-0'), null);
  const stream = fields(await client.xinfo('STREAM', 's'));
  equal([stream.length, stream['first-entry']], [102, TWO[0]]);
}

async function group() {
  equal(await client.xgroup('CREATE', 's', 'g', '0'), 'OK');
  await raises('BUSYGROUP Consumer Group name already exists', client.xgroup('CREATE', 's', 'g', '0'));
  equal(await client.xgroup('CREATE', 'made', 'g', '$', 'MKSTREAM'), 'OK');
  const read = (id) => client.xreadgroup('GROUP', 'g', 'alice', 'COUNT', 3, 'STREAMS', 's', id);
  const entries = entriesOf(await read('>'));
  equal(entries, [...TWO, ['3-0', ['n', '3']]]);
  equal(entriesOf(await read('0')), entries);
  const info = fields((await client.xinfo('GROUPS', 's'))[0]);
  equal([info.name, info.pending, info.consumers], ['g', 3, 1]);
}

async function blocked() {
  await client.xgroup('CREATE', 'w', 'g', '$', 'MKSTREAM');
  const [plain, grouped] = [connect(), connect()];
  const read = plain.xread('BLOCK', 0, 'STREAMS', 'w', '$');
  const readGroup = grouped.xreadgroup('GROUP', 'g', 'c', 'BLOCK', 20_000, 'STREAMS', 'w', '>');
  await until('2 blocked clients', async () =>
    (await client.info('clients')).includes('blocked_clients:2\r\n'));
  await client.xadd('w', '5-5', 'wake', 'up');
  const expected = [['5-5', ['wake', 'up']]];
  equal(entriesOf(await read), expected);
  equal(entriesOf(await readGroup), expected);
  equal(await plain.xread('BLOCK', 10, 'STREAMS', 'w', '$'), null);
  plain.disconnect();
  grouped.disconnect();
}

async function pending() {
  equal(await client.xpending('s', 'g'), [3, '1-1', '3-0', [['alice', '3']]]);
  const [[id, consumer, , deliveries]] = await client.xpending('s', 'g', '-', '+', 1, 'alice');
  equal([id, consumer, deliveries], ['1-1', 'alice', 2]);
}

async function claim() {
  equal(await client.xclaim('s', 'g', 'bob', 0, '1-1'), [TWO[0]]);
  equal(await client.xclaim('s', 'g', 'bob', 0, '1-2', 'JUSTID'), ['1-2']);
  const [next, entries] = await client.xautoclaim('s', 'g', 'dave', 0, '2-0', 'COUNT', 5);
  equal([next, entries], ['0-0', [['3-0', ['n', '3']]]]);
  equal((await client.xautoclaim('s', 'g', 'dave', 3_600_000, '0'))[1], []);
}

async function acknowledge() {
  equal(await client.xack('s', 'g', '1-1', '1-2', '99-9'), 2);
  equal(await client.xgroup('DELCONSUMER', 's', 'g', 'dave'), 1);
  equal((await client.xpending('s', 'g'))[0], 0);
  equal(await client.xgroup('DESTROY', 'made', 'g'), 1);
}

async function trimAndDelete() {
  equal(await client.xdel('s', '1-1', '99-9'), 1);
  equal(await client.xtrim('s', 'MAXLEN', 50), 51);
  equal(await client.xtrim('s', 'MINID', '60-0'), 7);
  equal(await client.xadd('s', 'MAXLEN', '=', 10, '103-0', 'n', 103), '103-0');
  equal(await client.xlen('s'), 10);
  equal(await client.del('s', 'w', 'absent'), 2);
}

async function publishAndSubscribe() {
  const subscriber = connect();
  const messages = inbox();
  subscriber.on('message', (...message) => messages.put(message));
  subscriber.on('pmessageBuffer', (...message) => messages.put(message));
  equal([await subscriber.subscribe('news'), await subscriber.psubscribe('room.*')], [1, 2]);
  equal(await client.pubsub('NUMSUB', 'news'), ['news', 1]);
  equal(await client.publish('news', 'hello'), 1);
  equal(await messages.next(), ['news', 'hello']);
  await client.publish('room.7', Buffer.from([0, 255]));
  const [pattern, channel, message] = await messages.next();
  equal([String(pattern), String(channel), message], ['room.*', 'room.7', Buffer.from([0, 255])]);
  equal([await subscriber.unsubscribe('news'), await subscriber.punsubscribe()], [1, 0]);
  equal(await client.publish('news', 'gone'), 0);
  subscriber.disconnect();
}

async function transaction() {
  const replies = await client.multi().xadd('t', '1-0', 'n', 1).set('count', 1).incr('count').exec();
  equal(replies, [[null, '1-0'], [null, 'OK'], [null, 2]]);
  const one = connect();
  await one.watch('count');
  await client.incr('count');
  equal(await one.multi().xadd('t', '*', 'n', 2).exec(), null);
  equal(await client.xlen('t'), 1);
  await one.watch('count');
  equal(await one.multi().incr('count').exec(), [[null, 4]]);
  one.disconnect();
  // A failed command of a transaction does not undo the others.
  const [[, set], [error]] = await client.multi().set('count', 9).xadd('count', '*', 'n', 1).exec();
  equal([set, error.name, await client.get('count')], ['OK', 'ReplyError', '9']);
}

async function strings() {
  equal(await client.set('k', 'v', 'EX', 100), 'OK');
  equal((await client.ttl('k')) > 98, true);
  equal(await client.set('k', 'other', 'NX'), null);
  equal(await client.persist('k'), 1);
  equal(await client.incrby('n', 5), 5);
  equal(await client.mget('k', 'absent', 'n'), ['v', null, '5']);
  await client.set('short', 'x', 'PX', 1);
  await until('the key has expired', async () => (await client.exists('short')) === 0);
}

async function binary() {
  const bytes = Buffer.from([...Array(256).keys()]);
  await client.xadd('b', '1-0', bytes, bytes, '', Buffer.alloc(0));
  const large = Buffer.alloc(1 << 20, bytes);
  await client.xadd('b', '2-0', 'large', large);
  const [[, first], [, second]] = await client.xrangeBuffer('b', '-', '+');
  equal(first, [bytes, bytes, Buffer.alloc(0), Buffer.alloc(0)]);
  equal(Buffer.compare(second[1], large), 0);
}

async function errors() {
  await client.set('string', 'x');
  const wrong = 'WRONGTYPE Operation against a key holding the wrong kind of value';
  equal((await raises(wrong, client.xadd('string', '*', 'n', 1))).name, 'ReplyError');
  await raises(
    "NOGROUP No such key 'b' or consumer group 'no' in XREADGROUP with GROUP option",
    client.xreadgroup('GROUP', 'no', 'c', 'STREAMS', 'b', '>'));
  await raises(
    'ERR The ID specified in XADD is equal or smaller than the target stream top item',
    client.xadd('b', '1-0', 'n', 1));
  await raises("ERR unknown command 'NOSUCH', with args beginning with: 'a'", client.call('NOSUCH', 'a'));
}

async function reconnectAndQuit() {
  const one = connect({ connectionName: 'victim' });
  const number = await one.client('ID');
  equal(await one.client('GETNAME'), 'victim');
  const ready = new Promise((resolve) => { one.once('ready', resolve); });
  equal(await client.client('KILL', 'ID', number), 1);
  await ready;
  equal((await one.client('ID')) > number, true);
  equal(await one.client('GETNAME'), 'victim');
  const end = new Promise((resolve) => { one.once('end', resolve); });
  equal(await one.quit(), 'OK');
  await end;
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
