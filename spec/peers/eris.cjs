// eris.cjs: npm's eris as a client of moongate's sandbox. It speaks to port 443 of a host only, so
// its agent knows the port; it takes ETF when the package erlpack is there.

const http = require('node:http');
const https = require('node:https');
const peer = require('./peer.cjs');
const Eris = peer.require('eris');

const api = new URL(peer.api);
const agent = api.protocol === 'https:' ? new https.Agent() : new http.Agent();
agent.defaultPort = Number(api.port);
agent.protocol = 'https:'; // what eris asks for, whatever the sandbox speaks

const client = new Eris(`Bot ${peer.token}`, {
  intents: peer.INTENTS,
  maxShards: peer.shards,
  shardConcurrency: 'auto',
  compress: peer.compress === 'zlib',
  rest: { domain: api.hostname, baseURL: `${api.pathname}/v10`, agent },
});

peer.version('eris');
client.on('ready', () => {
  for (const guild of client.guilds.values()) {
    peer.guild(guild.name, guild.channels.size, guild.memberCount);
  }
  peer.tell('ready');
});
client.on('shardResume', () => peer.tell('resumed'));
client.on('error', (error, shard) => console.error('error', shard, error && error.message));
client.on('warn', (words) => console.error('warn', words));
client.on('debug', (words) => console.error('debug', words));
client.on('messageCreate', async (message) => {
  peer.tell('message', message.content);
  if (message.content === '!ping') {
    const sent = await client.createMessage(message.channel.id, 'pong');
    peer.tell('sent', sent.content);
  }
  if (message.content === '!edit') {
    const draft = await client.createMessage(message.channel.id, 'draft');
    await client.editMessage(message.channel.id, draft.id, 'final');
    await client.deleteMessage(message.channel.id, draft.id);
  }
});
client.on('messageUpdate', (message) => peer.tell('updated', message.content));
client.on('messageDelete', () => peer.tell('deleted'));
client.on('interactionCreate', async (interaction) => {
  peer.tell('interaction', interaction.data.name);
  if (interaction.data.name === 'slow') {
    await interaction.defer();
    await interaction.editOriginalMessage('edited');
    await interaction.createFollowup('followed');
    await interaction.deleteOriginalMessage();
    peer.tell('done');
    return;
  }
  await interaction.createMessage('answered');
  peer.tell('replied');
});
client.connect().catch((error) => peer.tell('error', error.message));
