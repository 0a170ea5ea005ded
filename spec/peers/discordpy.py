# discordpy.py: Debian's python3-discord as a client of moongate's sandbox. Started by `cases.lua`
# with what it is to do as JSON in $PEER: api, token, shards; prints one line for each thing that
# happened to it.

import asyncio
import json
import logging
import os
import sys

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

PEER = json.loads(os.environ['PEER'])


def tell(*words):
    print(*words, flush=True)


class Events:
    async def setup_hook(self):
        # This version has the gateway's host built in instead of asking for it.
        url = yarl.URL(await self.http.get_gateway())
        DiscordWebSocket.DEFAULT_GATEWAY = url.origin()

    async def on_ready(self):
        for guild in self.guilds:
            tell('guild', guild.name, len(guild.channels), guild.member_count)
        tell('ready')

    async def on_message(self, message):
        tell('message', message.content)
        if message.content == '!ping':
            sent = await message.channel.send('pong')
            tell('sent', sent.content)
        if message.content == '!edit':
            draft = await message.channel.send('draft')
            await draft.edit(content='final')
            await draft.delete()

    async def on_message_edit(self, before, after):
        tell('updated', after.content)

    async def on_message_delete(self, message):
        tell('deleted')

    async def on_interaction(self, interaction):
        tell('interaction', interaction.data['name'])
        if interaction.data['name'] == 'slow':
            await interaction.response.defer()
            await interaction.edit_original_response(content='edited')
            await interaction.followup.send('followed')
            await interaction.delete_original_response()
            tell('done')
            return
        await interaction.response.send_message('answered')
        tell('replied')

    async def on_resumed(self):
        tell('resumed')

    async def on_shard_resumed(self, shard_id):
        tell('shard resumed', shard_id)


class One(Events, discord.Client):
    pass


class Many(Events, discord.AutoShardedClient):
    pass


async def main():
    intents = discord.Intents.default()
    intents.message_content = True
    # The only way that discord.py has to speak to another host.
    Route.BASE = PEER['api'] + '/v10'
    kind, more = One, {}
    if PEER['shards'] > 1:
        kind, more = Many, {'shard_count': PEER['shards']}
    async with kind(intents=intents, guild_ready_timeout=0.2, **more) as client:
        await client.start(PEER['token'])


tell('version', discord.__version__)
logging.basicConfig(stream=sys.stderr, level=logging.INFO)
try:
    asyncio.run(main())
except Exception as error:  # whatever it is, the runner shall read it
    tell('error', type(error).__name__, error)
    sys.exit(1)
