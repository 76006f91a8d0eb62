// SPDX-License-Identifier: Apache-2.0
// Answers after three seconds, and says meanwhile that it was asked.
import { createServer } from 'node:http';

createServer((request, response) => {
  console.log(`asked for ${request.url}`);
  setTimeout(() => response.end('well\n'), 3000);
}).listen(process.env.PORT);
