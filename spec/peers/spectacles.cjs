// spectacles.cjs: npm's @spectacles/gateway as a client of moongate's sandbox. It is older than
// version 10 and the intents, and has its API's address built in: those three are changed from the
// outside, its session handling is its own. It has no REST but its GET of the gateway.

const peer = require('./peer.cjs');
const fetch = peer.require('node-fetch');

const direct = fetch.default;
fetch.default = (url, options) =>
  direct(url.replace('https://discordapp.com/api/v6', `${peer.api}/v10`), options);

const { Cluster, Gateway, Shard } = peer.require('@spectacles/gateway');
const identify = Gateway.prototype.identify;
Gateway.prototype.identify = function identifyWithIntents(shard, packet) {
  return identify.call(this, shard, { intents: peer.INTENTS, ...packet });
};
Object.defineProperty(Shard.prototype, 'version', { get: () => 10, set: () => {} });

peer.version('@spectacles/gateway');
const cluster = new Cluster(peer.token);
cluster.gateway.shards = peer.shards;
cluster.on('receive', ({ op, t, d }) => {
  console.error('receive', op, t);
  if (op !== 0) return;
  if (t === 'READY') peer.tell('ready');
  if (t === 'RESUMED') peer.tell('resumed');
  peer.hear(t, d);
});
cluster.on('error', (error) => peer.tell('error', error && error.message));
cluster.on('close', (event) => console.error('close', event.code));
cluster.spawn(0, peer.shards - 1);
