// The example of the guide for ioredis, as it stands there: HOST PORT [PROTOCOL]. The protocol of
// the command line is not used: the example takes what it is given.

import { Redis } from 'ioredis';

import { equal, parameters, run } from './checks.mjs';
import { example } from './guide.mjs';

const { host, port } = parameters();
const client = new Redis({ host, port });
await client.flushall();

async function reads() {
  await client.xadd('orders', '7-0', 'number', '7');
  await client.xgroup('CREATE', 'orders', 'billing', '0');
  const program = example('clients.md', 'new Redis(', port, ['Redis'], ['client', 'reader', 'reply']);
  const made = await program(Redis);
  equal(made.reply, [['orders', [['7-0', ['number', '7']]]]]);
  for (const one of [made.client, made.reader]) await one.quit();
}

await run([['clients.md: connects and reads', reads]]);
