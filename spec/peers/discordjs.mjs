// discordjs.mjs: npm's @discordjs/ws as a client of moongate's sandbox. Started by `run` as
// `node discordjs.mjs FOLDER API TOKEN [zlib]`: packages come from FOLDER/node_modules. Prints one
// line for each thing that happened to it.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder, api, token, compress] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { REST } = require('@discordjs/rest');
const ws = require('@discordjs/ws');

const PATIENCE = 40000; // ms for everything
const INTENTS = 1 | 512 | 32768; // guilds, guild messages, message content
const tell = (...words) => console.log(words.join(' '));

setTimeout(() => {
  tell('error out of patience');
  process.exit(1);
}, PATIENCE);

const rest = new REST({ api, version: '10' }).setToken(token);
const manager = new ws.WebSocketManager({
  token,
  intents: INTENTS,
  fetchGatewayInformation: () => rest.get('/gateway/bot'),
  rest,
  compression: compress ? ws.CompressionMethod.ZlibNative : null,
});

tell('version', ws.version);
manager.on(ws.WebSocketShardEvents.Ready, (data) => tell('ready', data.user.username));
manager.on(ws.WebSocketShardEvents.Resumed, () => tell('resumed'));
manager.on(ws.WebSocketShardEvents.Error, (error) => tell('error', error.message));
manager.on(ws.WebSocketShardEvents.Debug, (words) => console.error(words));
manager.on(ws.WebSocketShardEvents.Dispatch, async (packet) => {
  if (packet.t !== 'MESSAGE_CREATE') return;
  tell('message', packet.d.content);
  if (packet.d.content === 'goodbye') {
    await manager.destroy({ reason: 'done', code: 1000 });
    tell('closed');
    process.exit(0);
  }
});
try {
  await manager.connect();
} catch (error) {
  tell('error', error.message);
  process.exit(1);
}
