// Takes the examples in JavaScript out of the guide, to run them as they stand there. The directory
// of its pages is named by GUIDE. Ports in them become that of the server.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const AsyncFunction = (async () => {}).constructor;

/** The only block of JavaScript on a page that has these words, as a function of these names. It
 * answers what its constants are called in `answers`. */
export function example(page, words, port, names, answers) {
  const text = readFileSync(join(process.env.GUIDE, page), 'utf8');
  const blocks = text.split('\n```js\n').slice(1).map((part) => part.split('\n```')[0]);
  const found = blocks.filter((block) => block.includes(words));
  if (found.length !== 1) throw new Error(`${page} has ${found.length} blocks with ${words}`);
  const body = found[0].replaceAll('6379', String(port));
  return new AsyncFunction(...names, `${body}\nreturn { ${answers.join(', ')} };`);
}
