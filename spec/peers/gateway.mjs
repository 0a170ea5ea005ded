// gateway.mjs: a scripted gateway on npm's `ws`, a WebSocket server that moongate did not write.
// Started by gateway.lua as `node gateway.mjs FOLDER [KEY CERTIFICATE]`: packages come from
// FOLDER/node_modules, key and certificate make it TLS. The first line it prints is its port, the
// last one a JSON summary of what the client did; then it ends.
//
// The script, over three connections of one session:
//   1  HELLO; READY and a large GUILD_CREATE in many fragments with pings between them; after some
//      beats two messages; then the socket is destroyed without a close frame.
//   2  RESUME at its own path; two missed messages replayed, RESUMED; after some beats a fifth
//      message; op 7.
//   3  RESUME; RESUMED, then "goodbye", upon which the client stops with 1000.

import { createRequire } from 'node:module';
import { createServer as createPlain } from 'node:http';
import { createServer as createTls } from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import zlib from 'node:zlib';

const [folder, keyFile, certificateFile] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { WebSocketServer } = require('ws');

const TOKEN = 'peer.token.0123456789';
const SESSION = 'a-session-of-the-peer';
const INTERVAL = 400; // ms between heartbeats
const BEATS = 3; // beats awaited on a connection before the script goes on
const PATIENCE = 30000; // ms for the whole script
const RESUME_PATH = '/resumed/here';
const PAYLOAD_LEAST = 60; // characters of a payload that is compressed; beats' answers are not

const summary = { tls: Boolean(keyFile), connections: [], problems: [] };
const complain = (words) => summary.problems.push(words);
let ending = false;

// Cuts and sizes come from a small seeded generator, so that every run is the same.
let seed = 12345;
const random = (below) => {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return Math.floor((seed / 2147483648) * below);
};

function finish(reason) {
  if (ending) return;
  ending = true;
  summary.reason = reason;
  process.stdout.write(`${JSON.stringify(summary)}\n`, () => process.exit(0));
}
setTimeout(() => finish('out of patience'), PATIENCE);

const message = (number, content) => ({
  id: String(9007199254740993n + BigInt(number)),
  channel_id: '40',
  author: { id: '41', username: 'zoë', bot: false },
  content,
  number,
  tts: false,
  edited_timestamp: null,
});

// Whether Identify asked for compressed payloads: for all connections of the session.
let payloads = false;

// Every dispatch of the session, for those who resume.
const history = [];
function remember(name, d) {
  const packet = { t: name, s: history.length + 1, op: 0, d };
  history.push(packet);
  return packet;
}

// One connection: what it is told and what is noted about it.
class Connection {
  constructor(socket, request) {
    this.socket = socket;
    const url = new URL(request.url, 'ws://here');
    this.note = {
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      user_agent: request.headers['user-agent'] ?? null,
      extensions: request.headers['sec-websocket-extensions'] ?? null,
      opened_with: null,
      beats: [],
      pings: 0,
      pongs: 0,
      close_code: null,
    };
    summary.connections.push(this.note);
    this.number = summary.connections.length;
    this.pings = [];
    this.waiting = null;
    this.queue = Promise.resolve();
    if (this.note.query.compress === 'zlib-stream') {
      this.deflate = zlib.createDeflate();
      this.deflate.on('error', (error) => complain(`deflate: ${error.message}`));
    }
    socket.on('message', (data, binary) => this.take(data, binary));
    socket.on('pong', (data) => this.takePong(data.toString('latin1')));
    socket.on('close', (code) => this.closed(code));
    socket.on('error', (error) => complain(`connection ${this.number}: ${error.message}`));
    this.say({ op: 10, s: null, t: null, d: { heartbeat_interval: INTERVAL, _trace: ['[]'] } });
  }

  takePong(payload) {
    // RFC 6455, 5.5.3: a pong may answer the newest of several pings and with it all before.
    const at = this.pings.indexOf(payload);
    if (at < 0) complain(`connection ${this.number}: a pong that answers nothing: ${payload}`);
    this.pings.splice(0, at + 1);
    this.note.pongs += 1;
  }

  closed(code) {
    this.note.close_code = code;
    if (this.pings.length > 0) this.note.unanswered = this.pings.length;
    if (this.number === 3) setTimeout(() => finish('done'), 50);
  }

  compress(text) {
    if (payloads && this.note.opened_with !== null && text.length > PAYLOAD_LEAST) {
      return Promise.resolve([zlib.deflateSync(text), true]);
    }
    if (!this.deflate) return Promise.resolve([Buffer.from(text), false]);
    return new Promise((resolve) => {
      const pieces = [];
      const gather = (piece) => pieces.push(piece);
      this.deflate.on('data', gather);
      this.deflate.write(text);
      this.deflate.flush(zlib.constants.Z_SYNC_FLUSH, () => {
        this.deflate.off('data', gather);
        resolve([Buffer.concat(pieces), true]);
      });
    });
  }

  // Sends one payload, in order with all others. With `cuts` it goes out as that many fragments,
  // with a ping after every third.
  say(payload, cuts = 1) {
    this.queue = this.queue.then(async () => {
      const [bytes, binary] = await this.compress(JSON.stringify(payload));
      const places = new Set([bytes.length]);
      while (places.size < Math.min(cuts, bytes.length)) places.add(1 + random(bytes.length - 1));
      let from = 0;
      let sent = 0;
      for (const to of [...places].sort((a, b) => a - b)) {
        if (this.socket.readyState !== this.socket.OPEN) return;
        const options = { fin: to === bytes.length, binary, compress: false };
        this.socket.send(bytes.subarray(from, to), options);
        from = to;
        sent += 1;
        if (cuts > 1 && sent % 3 === 0) {
          this.ping();
          await sleep(2); // most fragments and pings shall arrive alone
        }
      }
    });
    return this.queue;
  }

  ping() {
    const payload = `${this.number}:${this.note.pings}:${'p'.repeat(random(100))}`;
    this.note.pings += 1;
    this.pings.push(payload);
    this.socket.ping(payload);
  }

  dispatch(name, d, cuts) {
    return this.say(remember(name, d), cuts);
  }

  // Resolves when that many more beats have come.
  beats(count) {
    return new Promise((resolve) => {
      this.waiting = { count, resolve };
    });
  }

  take(data, binary) {
    if (binary) complain(`connection ${this.number}: a binary message`);
    let packet;
    try {
      packet = JSON.parse(data.toString('utf8'));
    } catch (error) {
      complain(`connection ${this.number}: not JSON: ${error.message}`);
      return;
    }
    if (packet.op === 1) this.takeBeat(packet.d);
    else if (packet.op === 2) this.takeIdentify(packet.d);
    else if (packet.op === 6) this.takeResume(packet.d);
    else complain(`connection ${this.number}: unexpected op ${packet.op}`);
  }

  takeBeat(d) {
    this.note.beats.push({ at: Math.round(performance.now()), d });
    this.say({ op: 11, s: null, t: null, d: null });
    if (this.waiting && --this.waiting.count === 0) this.waiting.resolve();
  }

  opening(op, d) {
    if (this.note.opened_with !== null) complain(`connection ${this.number}: a second op ${op}`);
    this.note.opened_with = op;
    if (d.token !== TOKEN) complain(`connection ${this.number}: op ${op} with another token`);
  }

  async takeIdentify(d) {
    this.opening(2, d);
    payloads = d.compress === true;
    this.note.identify = { intents: d.intents, properties: d.properties, shard: d.shard ?? null };
    this.note.payloads = payloads;
    const scheme = summary.tls ? 'wss' : 'ws';
    this.dispatch('READY', {
      v: 10,
      user: { id: '1', username: 'peer', bot: true },
      guilds: [{ id: '2', unavailable: true }],
      session_id: SESSION,
      resume_gateway_url: `${scheme}://127.0.0.1:${port}${RESUME_PATH}`,
      application: { id: '1', flags: 0 },
    }, 40);
    const channels = Array.from({ length: 800 }, (_, at) => ({
      id: String(100 + at), type: 0, name: `kanal-${at}-ž`, topic: 't'.repeat(random(300)),
    }));
    this.dispatch('GUILD_CREATE', { id: '2', name: 'Fragments', channels }, 60);
    await this.beats(BEATS);
    this.dispatch('MESSAGE_CREATE', message(1, 'one'), 7);
    await this.dispatch('MESSAGE_CREATE', message(2, 'two \u{1f319}'), 1);
    await this.beats(1);
    this.socket.terminate();
    remember('MESSAGE_CREATE', message(3, 'three, missed'));
    remember('MESSAGE_CREATE', message(4, 'four, missed'));
  }

  async takeResume(d) {
    this.opening(6, d);
    this.note.resume = { session_id: d.session_id, seq: d.seq, last: history.length };
    for (const packet of history.slice(d.seq)) this.say(packet, 9);
    if (this.number === 2) {
      this.dispatch('RESUMED', { _trace: [] }, 1);
      await this.beats(BEATS);
      this.dispatch('MESSAGE_CREATE', message(5, 'five'), 9);
      await this.beats(1); // the pongs come first
      this.say({ op: 7, s: null, t: null, d: null });
    } else {
      this.dispatch('RESUMED', { _trace: [] }, 1);
      this.dispatch('MESSAGE_CREATE', message(6, 'goodbye'), 1);
    }
  }
}

const server = keyFile
  ? createTls({ key: readFileSync(keyFile), cert: readFileSync(certificateFile) })
  : createPlain();
const sockets = new WebSocketServer({ server, perMessageDeflate: true });
sockets.on('connection', (socket, request) => {
  if (summary.connections.length >= 3) {
    complain('a fourth connection');
    socket.terminate();
    finish('too many connections');
    return;
  }
  new Connection(socket, request);
});
server.on('tlsClientError', (error) => complain(`TLS: ${error.message}`));

let port = 0;
server.listen(0, '127.0.0.1', () => {
  port = server.address().port;
  process.stdout.write(`${port}\n`);
});
