// What every Node program here shares: arguments, one line per check, and waiting for a fact.
//
// A check is an async function that throws where it sees something else than it should.

import { deepStrictEqual } from 'node:assert';

// Longest wait for something that another connection must do first.
const WAIT_MS_MAX = 20_000;

/** Host, port and protocol (2 or 3; 3 if it is not given) of the command line. */
export function parameters() {
  const [host, port, protocol = '3'] = process.argv.slice(2);
  if (!host || !port) {
    console.error(`usage: ${process.argv[1]} HOST PORT [PROTOCOL]`);
    process.exit(1);
  }
  return { host, port: Number(port), protocol: Number(protocol) };
}

/** Fails unless both are the same. Objects without a prototype count like others. */
export function equal(seen, expected) {
  deepStrictEqual(plain(seen), plain(expected));
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** Fails unless the promise is rejected with this beginning of a message; answers the error. */
export async function raises(text, promise) {
  let reply;
  try {
    reply = await promise;
  } catch (error) {
    if (!error.message.startsWith(text)) throw error;
    return error;
  }
  throw new Error(`expected ${text}, saw the reply ${JSON.stringify(reply)}`);
}

/** Asks for a fact until it is true, and answers it. */
export async function until(what, fact) {
  const deadline = Date.now() + WAIT_MS_MAX;
  while (Date.now() < deadline) {
    const seen = await fact();
    if (seen) return seen;
  }
  throw new Error(`waited ${WAIT_MS_MAX} ms for: ${what}`);
}

/** Messages that arrive through a callback, read one by one with `next`. */
export function inbox() {
  const waiting = [];
  const arrived = [];
  return {
    put(message) {
      const taker = waiting.shift();
      if (taker) taker(message);
      else arrived.push(message);
    },
    next() {
      if (arrived.length > 0) return Promise.resolve(arrived.shift());
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}

/** Runs [name, function] pairs in order and ends the process. */
export async function run(checks) {
  let failed = 0;
  for (const [name, check] of checks) {
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error.stack}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}
