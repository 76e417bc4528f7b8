// The example of the guide for node-redis, as it stands there: HOST PORT [PROTOCOL]. The protocol
// of the command line is not used: the example takes what it is given.

import { createClient } from 'redis';

import { equal, parameters, run } from './checks.mjs';
import { example } from './guide.mjs';

const { host, port } = parameters();
const client = await createClient({ socket: { host, port } }).connect();
await client.flushAll();

async function reads() {
  await client.xAdd('orders', '*', { number: '7' });
  await client.xGroupCreate('orders', 'billing', '0');
  const program = example(
    'clients.md', 'createClient(', port, ['createClient'], ['client', 'reader', 'streams'],
  );
  const made = await program(createClient);
  equal(made.streams[0].messages[0].message, { number: '7' });
  equal((await client.xPending('orders', 'billing')).pending, 0);
  for (const one of [made.client, made.reader]) await (one.close?.() ?? one.quit());
}

await run([['clients.md: connects and reads', reads]]);
