// SPDX-License-Identifier: Apache-2.0
//
// Uploads of any size, never held in memory: as a form (POST) or as they are (PUT).
const busboy = require('busboy');
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const http = require('node:http');
const { Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');

/** What comes through it is counted and hashed. */
async function take(source) {
  const hash = createHash('sha256');
  let bytes = 0;
  const count = new Transform({ transform: (part, encoding, done) => { bytes += part.length; done(null, part); } });
  await pipeline(source, count, hash);
  return { bytes, sha256: hash.digest('hex') };
}

function form(request) {
  return new Promise((done, failed) => {
    const files = [];
    const parser = busboy({ headers: request.headers, limits: { files: 10 } });
    parser.on('file', (field, stream, { filename }) => files.push(take(stream).then((taken) => ({ field, filename, ...taken }))));
    parser.on('close', () => Promise.all(files).then(done, failed)).on('error', failed);
    request.on('error', failed).pipe(parser);
  });
}

const version = 1;
http.createServer(async (request, response) => {
  try {
    const said = request.method === 'POST' ? await form(request) : request.method === 'PUT' ? await take(request) : { pid: process.pid, version };
    response.setHeader('server', JSON.parse(readFileSync('package.json', 'utf8')).name); // read when it is needed, as programs do
    response.setHeader('content-type', 'application/json').end(JSON.stringify(said));
  } catch (error) {
    response.writeHead(400).end(JSON.stringify({ error: error.message }));
  }
}).listen(process.env.PORT ?? 3000);
