# discordpy.py: Debian's python3-discord as a client of moongate's sandbox. Started by `run` as
# `python3 discordpy.py API TOKEN`; prints one line for each thing that happened to it.

import asyncio
import logging
import sys

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

API, TOKEN = sys.argv[1:3]
PATIENCE = 40  # seconds for everything


def tell(*words):
    print(*words, flush=True)


class Peer(discord.Client):
    async def setup_hook(self):
        # This version has the gateway's host built in instead of asking for it.
        url = yarl.URL(await self.http.get_gateway())
        DiscordWebSocket.DEFAULT_GATEWAY = url.origin()

    async def on_ready(self):
        tell('ready', self.user.name)

    async def on_message(self, message):
        tell('message', message.content)
        if message.content == 'goodbye':
            await self.close()

    async def on_resumed(self):
        tell('resumed')


async def main():
    intents = discord.Intents.default()
    intents.message_content = True
    # The only way that discord.py has to speak to another host.
    Route.BASE = API + '/v10'
    async with Peer(intents=intents, guild_ready_timeout=0.2) as client:
        await asyncio.wait_for(client.start(TOKEN), PATIENCE)


tell('version', discord.__version__)
logging.basicConfig(stream=sys.stderr, level=logging.INFO)
try:
    asyncio.run(main())
except Exception as error:  # whatever it is, the runner shall read it
    tell('error', type(error).__name__, error)
    sys.exit(1)
tell('closed')
