// peer.cjs: what the clients of this folder share. Started by `cases.lua` as `node CLIENT.cjs` with
// what it is to do as JSON in $PEER: folder (of the packages), api, token, shards, compress. Prints
// one line for each thing that happened to it.

const { createRequire } = require('node:module');
const { join } = require('node:path');

const peer = JSON.parse(process.env.PEER);

peer.INTENTS = 1 | 512 | 32768; // guilds, guild messages, message content
peer.require = createRequire(join(peer.folder, 'package.json'));
peer.tell = (...words) => console.log(words.join(' '));
peer.version = (name) => {
  const file = join(peer.folder, 'node_modules', name, 'package.json');
  peer.tell('version', JSON.parse(require('node:fs').readFileSync(file)).version);
};
peer.guild = (name, channels, members) => peer.tell('guild', name, channels, members);

// A dispatch as it came, for clients that keep nothing of their own.
peer.hear = (name, d) => {
  if (name === 'GUILD_CREATE') peer.guild(d.name, d.channels.length, d.member_count);
  if (name === 'MESSAGE_CREATE') peer.tell('message', d.content);
};

process.on('unhandledRejection', (error) => peer.tell('error unhandled', error && error.message));

module.exports = peer;
