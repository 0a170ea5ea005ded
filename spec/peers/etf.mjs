// etf.mjs: Erlang's term format as others write and read it: npm's erlpack (Discord's own, in C++)
// and erlang_js (in JavaScript). Called by etf.lua as `node etf.mjs FOLDER`, where node_modules is.
// Each line of the input has a JSON text and, in hex, what moongate made of it; each line of the
// output is "ok" and the same value in hex as the two of them write it, or "wrong" and why.

import { createRequire } from 'node:module';
import assert from 'node:assert';
import readline from 'node:readline';

const require = createRequire(process.argv[2] + '/');
const erlpack = require('erlpack');
const { Erlang } = require('erlang_js');
Erlang.set_undefined('nil');

const INT32_MIN = -2147483648, UINT32_MAX = 4294967295;

// Large integers are text in what erlpack reads, and erlang_js cannot write them.
function normal(value) {
  if (typeof value === 'number') {
    const large = Number.isInteger(value) && (value < INT32_MIN || value > UINT32_MAX);
    return large ? String(value) : value;
  }
  if (Array.isArray(value)) return value.map(normal);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, normal(member)]));
}

// From the objects of erlang_js to plain values.
function plain(term) {
  if (term instanceof Erlang.OtpErlangBinary) return term.value.toString('utf8');
  if (term instanceof Erlang.OtpErlangList) return term.value.map(plain);
  if (!(term instanceof Erlang.OtpErlangMap)) return term;
  return Object.fromEntries([...term.value].map(([key, value]) => [plain(key), plain(value)]));
}

const isByte = (value) => Number.isInteger(value) && value >= 0 && value <= 255;

// From plain values to its objects. Lists take turns in being lists and tuples, those of bytes are
// strings; keys take turns in being atoms and binaries.
let turn = 0;
function term(value) {
  turn += 1;
  if (typeof value === 'string') return new Erlang.OtpErlangBinary(Buffer.from(value));
  if (Array.isArray(value)) {
    if (value.length && value.every(isByte)) return String.fromCharCode(...value);
    return turn % 2 && value.length ? value.map(term) : new Erlang.OtpErlangList(value.map(term));
  }
  if (value === null || typeof value !== 'object') return value;
  return new Erlang.OtpErlangMap(new Map(Object.entries(value).map(([key, member]) => {
    turn += 1;
    const word = turn % 2 && /^[\x00-\x7f]{1,255}$/.test(key);
    return [word ? new Erlang.OtpErlangAtom(key) : new Erlang.OtpErlangBinary(Buffer.from(key)),
      term(member)];
  })));
}

const read = (bytes) => new Promise((resolve, reject) => {
  Erlang.binary_to_term(bytes, (error, found) => (error ? reject(error) : resolve(found)));
});
const write = (value, level) => new Promise((resolve, reject) => {
  Erlang.term_to_binary(value, (error, bytes) => (error ? reject(error) : resolve(bytes)), level);
});

async function answer(line) {
  const [text, hex] = line.split('\t');
  const value = JSON.parse(text), bytes = Buffer.from(hex, 'hex');
  const wanted = normal(value);
  assert.deepStrictEqual(normal(erlpack.unpack(bytes)), wanted, 'erlpack reads another');
  assert.deepStrictEqual(normal(plain(await read(bytes))), wanted, 'erlang_js reads another');
  const terms = term(wanted);
  const written = [erlpack.pack(value), await write(terms, false), await write(terms, 6)];
  return ['ok', ...written.map((one) => one.toString('hex'))].join('\t');
}

const version = (name) => require(name + '/package.json').version;
console.log(`erlpack ${version('erlpack')}, erlang_js ${version('erlang_js')}`);
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    console.log(await answer(line));
  } catch (error) {
    console.log('wrong\t' + String(error.message).replace(/\s+/g, ' ').slice(0, 300));
  }
}
