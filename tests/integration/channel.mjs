// SPDX-License-Identifier: Apache-2.0
//
// The secure channel a second time, in JavaScript, written from docs/security.md alone: for tests that have to say inside of a channel what no
// well-meaning peer says, and to see that the documentation is enough to write another one. Bytes in, bytes out; no sockets.
import { createCipheriv, createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman, randomBytes, sign } from 'node:crypto';

const TAG = 16, REKEY_EVERY = 65_536n;
const MAGIC = Buffer.from('8949736f6c61', 'hex');

// --- keys, as bytes ---

const PKCS8 = { x25519: '302e020100300506032b656e04220420', ed25519: '302e020100300506032b657004220420' };
const SPKI = { x25519: '302a300506032b656e032100', ed25519: '302a300506032b6570032100' };
const privateKey = (type, bytes) => createPrivateKey({ key: Buffer.concat([Buffer.from(PKCS8[type], 'hex'), bytes]), format: 'der', type: 'pkcs8' });
const publicOf = (type, secret) => createPublicKey(privateKey(type, secret)).export({ format: 'der', type: 'spki' }).subarray(-32);

/** { secret, public } of 32 bytes each: a new pair, or that of a secret. */
export function keyPair(secret = randomBytes(32)) { return { secret, public: publicOf('x25519', secret) }; }
/** The same for signatures; a secret is its seed. */
export function signPair(seed = randomBytes(32)) {
  return { secret: seed, public: publicOf('ed25519', seed), sign: (bytes) => sign(null, bytes, privateKey('ed25519', seed)) };
}

function dh(pair, other) {
  return diffieHellman({
    privateKey: privateKey('x25519', pair.secret),
    publicKey: createPublicKey({ key: Buffer.concat([Buffer.from(SPKI.x25519, 'hex'), other]), format: 'der', type: 'spki' }),
  });
}

// --- Noise, revision 34 ---

const hash = (...parts) => parts.reduce((h, part) => h.update(part), createHash('blake2b512')).digest();
const hmac = (key, ...parts) => parts.reduce((h, part) => h.update(part), createHmac('blake2b512', key)).digest();
function hkdf(chaining, material) {
  const key = hmac(chaining, material), first = hmac(key, Buffer.from([1]));
  return [first, hmac(key, first, Buffer.from([2]))];
}

function nonceOf(n) {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(n, 4);
  return nonce;
}

class Cipher {
  n = 0n;
  constructor(key) { this.key = key; }
  #with(n, data, plain) {
    const c = createCipheriv('chacha20-poly1305', this.key, nonceOf(n), { authTagLength: TAG });
    c.setAAD(data, { plaintextLength: plain.length });
    return Buffer.concat([c.update(plain), c.final(), c.getAuthTag()]);
  }
  seal(data, plain) { return this.#with(this.n++, data, plain); }
  open(data, sealed) {
    const c = createDecipheriv('chacha20-poly1305', this.key, nonceOf(this.n), { authTagLength: TAG });
    c.setAAD(data, { plaintextLength: sealed.length - TAG });
    c.setAuthTag(sealed.subarray(-TAG));
    const plain = Buffer.concat([c.update(sealed.subarray(0, -TAG)), c.final()]);
    this.n++;
    return plain;
  }
  rekey() { this.key = this.#with(2n ** 64n - 1n, Buffer.alloc(0), Buffer.alloc(32)).subarray(0, 32); }
}

const PATTERNS = {
  XX: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']],
  IK: [['e', 'es', 's', 'ss'], ['e', 'ee', 'se']],
};

class Handshake {
  #h;
  #chaining;
  #cipher;
  #messages;
  constructor({ pattern, initiator, keys, ephemeral, peer, prologue }) {
    Object.assign(this, { initiator, keys, ephemeral, peer });
    this.#h = this.#chaining = Buffer.concat([Buffer.from(`Noise_${pattern}_25519_ChaChaPoly_BLAKE2b`)], 64);
    this.#mixHash(prologue);
    if (pattern === 'IK') this.#mixHash(initiator ? peer : keys.public);
    this.#messages = [...PATTERNS[pattern]];
  }
  get over() { return this.#messages.length === 0; }
  get hash() { return this.#h; }
  #mixHash(bytes) { this.#h = hash(this.#h, bytes); }
  #mixKey(secret) {
    const [chaining, key] = hkdf(this.#chaining, secret);
    this.#chaining = chaining;
    this.#cipher = new Cipher(key.subarray(0, 32));
  }
  #seal(plain) {
    const sealed = this.#cipher === undefined ? plain : this.#cipher.seal(this.#h, plain);
    this.#mixHash(sealed);
    return sealed;
  }
  #open(sealed) {
    const plain = this.#cipher === undefined ? sealed : this.#cipher.open(this.#h, sealed);
    this.#mixHash(sealed);
    return plain;
  }
  // The first letter is the initiator's key, the second the responder's.
  #exchange(token) {
    const [mine, other] = this.initiator ? token : [token[1], token[0]];
    this.#mixKey(dh(mine === 'e' ? this.ephemeral : this.keys, other === 'e' ? this.peerEphemeral : this.peer));
  }

  write(payload) {
    const out = [];
    for (const token of this.#messages.shift()) {
      if (token === 'e') {
        this.ephemeral ??= keyPair();
        this.#mixHash(this.ephemeral.public);
        out.push(this.ephemeral.public);
      } else if (token === 's') out.push(this.#seal(this.keys.public));
      else this.#exchange(token);
    }
    return Buffer.concat([...out, this.#seal(payload)]);
  }
  read(message) {
    let at = 0;
    const take = (n) => message.subarray(at, at += n);
    for (const token of this.#messages.shift()) {
      if (token === 'e') this.#mixHash(this.peerEphemeral = take(32));
      else if (token === 's') this.peer = this.#open(take(this.#cipher === undefined ? 32 : 32 + TAG));
      else this.#exchange(token);
    }
    return this.#open(message.subarray(at));
  }
  split() {
    const [first, second] = hkdf(this.#chaining, Buffer.alloc(0)).map((k) => new Cipher(k.subarray(0, 32)));
    return this.initiator ? [first, second] : [second, first];
  }
}

// --- the channel ---

const framed = (bytes) => Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);

export class Refused extends Error {
  constructor(reason, least, greatest) {
    super(`refused: reason ${reason}, wire versions ${least} to ${greatest}`);
    Object.assign(this, { reason, least, greatest });
  }
}

export class Channel {
  done = false;
  shown; // what the other end has shown
  version;
  #options;
  #noise;
  #have = Buffer.alloc(0);
  #tx;
  #rx;

  /**
   * { initiator, keys, payload } and, of an initiator, pattern ('XX', 'IK'), peer (IK: its static key), least, greatest and purpose; of a responder
   * version, the one it chooses. `ephemeral` is for test vectors.
   */
  constructor(options) { this.#options = { pattern: 'XX', least: 2, greatest: 2, purpose: 0, version: 2, payload: Buffer.alloc(0), ...options }; }

  get hash() { return this.#noise.hash; }
  get peer() { return this.#noise.peer; }

  static preamble({ pattern, purpose, least, greatest }) {
    return Buffer.concat([MAGIC, Buffer.from([pattern === 'XX' ? 1 : 2, purpose, least >> 8, least & 255, greatest >> 8, greatest & 255, 0, 0, 0, 0])]);
  }

  #begin(preamble) { this.#noise = new Handshake({ ...this.#options, prologue: Buffer.concat([Buffer.from('Isola channel 1'), preamble]) }); }

  /** The initiator's first bytes. */
  start() {
    const preamble = Channel.preamble(this.#options);
    this.#begin(preamble);
    return Buffer.concat([preamble, framed(this.#noise.write(this.#options.pattern === 'XX' ? Buffer.alloc(0) : this.#options.payload))]);
  }

  #split() {
    [this.#tx, this.#rx] = this.#noise.split();
    this.done = true;
  }

  // One message of the handshake: what is to be sent.
  #shake(message) {
    const payload = this.#noise.read(message);
    const { initiator, pattern } = this.#options;
    if (initiator) {
      this.version = payload.readUInt16BE(0);
      this.shown = payload.subarray(2);
    } else if (this.#noise.over || pattern === 'IK') this.shown = payload;
    let out = Buffer.alloc(0);
    if (!this.#noise.over) {
      const { version, payload: shows } = this.#options;
      out = framed(this.#noise.write(initiator ? shows : Buffer.concat([Buffer.from([version >> 8, version & 255]), shows])));
    }
    if (this.#noise.over) this.#split();
    return out;
  }

  /** Takes what has arrived: { out: bytes to send, records: [plaintexts] }. Throws Refused when the other end has refused. */
  feed(bytes) {
    this.#have = Buffer.concat([this.#have, bytes]);
    const out = [], records = [];
    const { initiator } = this.#options;
    if (!initiator && this.#noise === undefined) {
      if (this.#have.length < 16) return { out: Buffer.alloc(0), records };
      const preamble = this.#have.subarray(0, 16);
      if (!preamble.subarray(0, 6).equals(MAGIC)) throw new Error('that is no channel');
      this.#options.pattern = preamble[6] === 1 ? 'XX' : 'IK';
      this.#have = this.#have.subarray(16);
      this.#begin(preamble);
    }
    for (;;) {
      if (this.#have.length >= 16 && this.#have.subarray(0, 6).equals(MAGIC) && this.#have[6] === 3)
        throw new Refused(this.#have[7], this.#have.readUInt16BE(8), this.#have.readUInt16BE(10));
      if (this.#have.length < 2) break;
      const length = this.#have.readUInt16BE(0);
      if (this.#have.length < 2 + length) break;
      const header = this.#have.subarray(0, 2), body = this.#have.subarray(2, 2 + length);
      this.#have = this.#have.subarray(2 + length);
      if (!this.done) out.push(this.#shake(body));
      else {
        records.push(this.#rx.open(header, body));
        if (this.#rx.n % REKEY_EVERY === 0n) this.#rx.rekey();
      }
    }
    return { out: Buffer.concat(out), records };
  }

  /** A record. */
  seal(plain) {
    const length = plain.length + TAG, header = Buffer.from([length >> 8, length & 255]);
    const record = Buffer.concat([header, this.#tx.seal(header, plain)]);
    if (this.#tx.n % REKEY_EVERY === 0n) this.#tx.rekey();
    return record;
  }
}
