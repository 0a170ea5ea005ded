// discordjsws.cjs: npm's @discordjs/ws with @discordjs/rest, as a client of moongate's sandbox.

const peer = require('./peer.cjs');
const { REST } = peer.require('@discordjs/rest');
const ws = peer.require('@discordjs/ws');

const methods = {
  zlib: ws.CompressionMethod.ZlibNative,
  'zlib-sync': ws.CompressionMethod.ZlibSync,
};
const rest = new REST({ api: peer.api, version: '10' }).setToken(peer.token);
const manager = new ws.WebSocketManager({
  token: peer.token,
  intents: peer.INTENTS,
  fetchGatewayInformation: () => rest.get('/gateway/bot'),
  rest,
  shardCount: peer.shards,
  compression: methods[peer.compress] ?? null,
  useIdentifyCompression: peer.compress === 'payload',
});

peer.version('@discordjs/ws');
manager.on(ws.WebSocketShardEvents.Ready, () => peer.tell('ready'));
manager.on(ws.WebSocketShardEvents.Resumed, () => peer.tell('resumed'));
manager.on(ws.WebSocketShardEvents.Error, (error) => peer.tell('error', error.message));
manager.on(ws.WebSocketShardEvents.Debug, (words) => console.error(words));
manager.on(ws.WebSocketShardEvents.Dispatch, async ({ t, d }) => {
  peer.hear(t, d);
  if (t === 'MESSAGE_CREATE' && d.content === '!ping') {
    const sent = await rest.post(`/channels/${d.channel_id}/messages`, { body: { content: 'pong' } });
    peer.tell('sent', sent.content);
  }
});
manager.connect().catch((error) => peer.tell('error', error.message));
