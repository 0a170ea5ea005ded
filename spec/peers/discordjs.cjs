// discordjs.cjs: npm's discord.js, with all of its caches, as a client of moongate's sandbox.

const peer = require('./peer.cjs');
const { Client, Events } = peer.require('discord.js');

const client = new Client({
  intents: peer.INTENTS,
  rest: { api: peer.api },
  shardCount: peer.shards,
  shards: Array.from({ length: peer.shards }, (_, id) => id),
});

peer.version('discord.js');
client.once(Events.ClientReady, () => {
  for (const guild of client.guilds.cache.values()) {
    peer.guild(guild.name, guild.channels.cache.size, guild.memberCount);
  }
  peer.tell('ready');
});
client.on(Events.ShardReady, (shard) => console.error('shard ready', shard));
client.on(Events.ShardResume, () => peer.tell('resumed'));
client.on(Events.ShardError, (error) => peer.tell('error', error.message));
client.on(Events.Error, (error) => peer.tell('error', error.message));
client.on(Events.Debug, (words) => console.error(words));
client.on(Events.MessageCreate, async (message) => {
  peer.tell('message', message.content);
  if (message.content === '!ping') {
    const sent = await message.channel.send('pong');
    peer.tell('sent', sent.content);
  }
  if (message.content === '!edit') {
    const draft = await message.channel.send('draft');
    await draft.edit('final');
    await draft.delete();
  }
});
client.on(Events.MessageUpdate, (_, message) => peer.tell('updated', message.content));
client.on(Events.MessageDelete, () => peer.tell('deleted'));
client.on(Events.InteractionCreate, async (interaction) => {
  peer.tell('interaction', interaction.commandName);
  if (interaction.commandName === 'slow') {
    await interaction.deferReply();
    await interaction.editReply('edited');
    await interaction.followUp('followed');
    await interaction.deleteReply();
    peer.tell('done');
    return;
  }
  await interaction.reply('answered');
  peer.tell('replied');
});
client.login(peer.token).catch((error) => peer.tell('error', error.message));
