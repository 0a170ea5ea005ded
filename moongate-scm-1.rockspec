rockspec_format = "3.0"
package = "moongate"
version = "scm-1"

source = {
  -- A placeholder: the project has no public home yet. Build from a checkout with `luarocks make`.
  url = "git+https://example.invalid/moongate.git",
}

description = {
  summary = "The Discord Gateway for Lua",
  detailed = [[
A C core that keeps a bot's session on the Discord Gateway alive whatever happens, wrapped as a Lua
module: heartbeats on a thread of their own, resumes, bounded queues, and an emitter to script with.
]],
  license = "MIT",
  labels = { "discord", "gateway", "websocket", "bot" },
}

supported_platforms = { "linux", "macosx" }

dependencies = {
  "lua >= 5.4, < 5.5",
  "lua-cjson >= 2.1.0",
}

external_dependencies = {
  LIBWEBSOCKETS = { header = "libwebsockets.h", library = "websockets" },
  OPENSSL = { header = "openssl/ssl.h", library = "ssl" },
  ZLIB = { header = "zlib.h", library = "z" },
  ZSTD = { header = "zstd.h", library = "zstd" },
}

local include = {
  "$(LIBWEBSOCKETS_INCDIR)", "$(OPENSSL_INCDIR)", "$(ZLIB_INCDIR)", "$(ZSTD_INCDIR)",
}
local libraries = {
  "$(LIBWEBSOCKETS_LIBDIR)", "$(OPENSSL_LIBDIR)", "$(ZLIB_LIBDIR)", "$(ZSTD_LIBDIR)",
}

build = {
  type = "builtin",
  install = { bin = { moongate = "lua/bin/moongate" } },
  modules = {
    ["moongate"] = "lua/moongate/init.lua",
    ["moongate.bridge"] = "lua/moongate/bridge.lua",
    ["moongate.cells"] = "lua/moongate/cells.lua",
    ["moongate.cli"] = "lua/moongate/cli.lua",
    ["moongate.cli_cluster"] = "lua/moongate/cli_cluster.lua",
    ["moongate.cli_doctor"] = "lua/moongate/cli_doctor.lua",
    ["moongate.cli_repl"] = "lua/moongate/cli_repl.lua",
    ["moongate.cli_sandbox"] = "lua/moongate/cli_sandbox.lua",
    ["moongate.cli_tail"] = "lua/moongate/cli_tail.lua",
    ["moongate.cli_view"] = "lua/moongate/cli_view.lua",
    ["moongate.cluster"] = "lua/moongate/cluster.lua",
    ["moongate.commands"] = "lua/moongate/commands.lua",
    ["moongate.complete"] = "lua/moongate/complete.lua",
    ["moongate.coordinator"] = "lua/moongate/coordinator.lua",
    ["moongate.delivery"] = "lua/moongate/delivery.lua",
    ["moongate.dialect"] = "lua/moongate/dialect.lua",
    ["moongate.emitter"] = "lua/moongate/emitter.lua",
    ["moongate.events"] = "lua/moongate/events.lua",
    ["moongate.gateway"] = "lua/moongate/gateway.lua",
    ["moongate.heap"] = "lua/moongate/heap.lua",
    ["moongate.history"] = "lua/moongate/history.lua",
    ["moongate.inspect"] = "lua/moongate/inspect.lua",
    ["moongate.intents"] = "lua/moongate/intents.lua",
    ["moongate.launch"] = "lua/moongate/launch.lua",
    ["moongate.line"] = "lua/moongate/line.lua",
    ["moongate.log"] = "lua/moongate/log.lua",
    -- Of no use to programs: where editors find them.
    ["moongate.meta.busted"] = "lua/moongate/meta/busted.lua",
    ["moongate.meta.client"] = "lua/moongate/meta/client.lua",
    ["moongate.meta.events"] = "lua/moongate/meta/events.lua",
    ["moongate.meta.moongate"] = "lua/moongate/meta/moongate.lua",
    ["moongate.meta.options"] = "lua/moongate/meta/options.lua",
    ["moongate.meta.sandbox"] = "lua/moongate/meta/sandbox.lua",
    ["moongate.meta.words"] = "lua/moongate/meta/words.lua",
    ["moongate.metrics"] = "lua/moongate/metrics.lua",
    ["moongate.options"] = "lua/moongate/options.lua",
    ["moongate.output"] = "lua/moongate/output.lua",
    ["moongate.pollable"] = "lua/moongate/pollable.lua",
    ["moongate.quota"] = "lua/moongate/quota.lua",
    ["moongate.repl"] = "lua/moongate/repl.lua",
    ["moongate.repl_lua"] = "lua/moongate/repl_lua.lua",
    ["moongate.repl_options"] = "lua/moongate/repl_options.lua",
    ["moongate.repl_screen"] = "lua/moongate/repl_screen.lua",
    ["moongate.repl_watch"] = "lua/moongate/repl_watch.lua",
    ["moongate.reshard"] = "lua/moongate/reshard.lua",
    ["moongate.roster"] = "lua/moongate/roster.lua",
    ["moongate.sandbox"] = "lua/moongate/sandbox.lua",
    ["moongate.sandbox.arguments"] = "lua/moongate/sandbox/arguments.lua",
    ["moongate.sandbox.busted"] = "lua/moongate/sandbox/busted.lua",
    ["moongate.sandbox.knobs"] = "lua/moongate/sandbox/knobs.lua",
    ["moongate.sandbox.options"] = "lua/moongate/sandbox/options.lua",
    ["moongate.scheduler"] = "lua/moongate/scheduler.lua",
    ["moongate.shelter"] = "lua/moongate/shelter.lua",
    ["moongate.search"] = "lua/moongate/search.lua",
    ["moongate.sessions"] = "lua/moongate/sessions.lua",
    ["moongate.shard"] = "lua/moongate/shard.lua",
    ["moongate.snowflake"] = "lua/moongate/snowflake.lua",
    ["moongate.spelling"] = "lua/moongate/spelling.lua",
    ["moongate.store"] = "lua/moongate/store.lua",
    ["moongate.turns"] = "lua/moongate/turns.lua",
    ["moongate.core"] = {
      sources = {
        "src/codes.c", "src/buf.c", "src/text.c", "src/file.c", "src/heart.c", "src/budget.c",
        "src/quota.c", "src/pace.c", "src/backoff.c", "src/outbox.c", "src/json.c", "src/etf.c",
        "src/transcode.c", "src/inflate.c", "src/event.c", "src/machine.c", "src/payload.c",
        "src/report.c", "src/connection.c", "src/greeting.c", "src/session.c", "src/door.c",
        "src/census.c", "src/shard.c", "src/queue.c", "src/resolver.c", "src/window.c", "src/url.c",
        "src/http.c", "src/tls.c", "src/ticket.c", "src/transport.c", "src/proxy.c", "src/frame.c", "src/upgrade.c",
        "src/websocket.c", "src/exchange.c", "src/head.c", "src/link.c", "src/row.c",
        "src/board.c", "src/letter.c", "src/seat.c", "src/command.c", "src/loop.c", "src/crew.c",
        "src/engine.c", "src/hall.c", "src/lua_core.c", "src/lua_build.c",
        "src/lua_build_etf.c", "src/lua_lazy.c", "src/lua_index.c", "src/lua_index_etf.c",
        "src/lua_space.c",
        "src/lua_store.c", "src/lua_quota.c", "src/lua_value.c", "src/lua_walk.c",
        "src/lua_machine.c", "src/lua_engine.c", "src/lua_record.c", "src/lua_serve.c",
        "src/lua_shard.c", "src/lua_terminal.c", "src/lua_ear.c",
      },
      defines = { "_GNU_SOURCE" },
      incdirs = include,
      libdirs = libraries,
      libraries = { "websockets", "ssl", "crypto", "z", "zstd", "pthread" },
    },
    ["moongate.sandbox.core"] = {
      sources = {
        "src/codes.c", "src/buf.c", "src/text.c", "src/json.c", "src/etf.c", "src/lua_build.c",
        "src/lua_build_etf.c", "src/lua_space.c", "src/lua_value.c", "src/lua_walk.c",
        "src/lua_sandbox.c", "src/sandbox.c", "src/sandbox_agenda.c", "src/sandbox_archive.c",
        "src/sandbox_call.c", "src/sandbox_etf.c", "src/sandbox_form.c", "src/sandbox_frame.c",
        "src/sandbox_gateway.c", "src/sandbox_guild.c", "src/sandbox_http.c",
        "src/sandbox_identify.c", "src/sandbox_instead.c", "src/sandbox_intents.c",
        "src/sandbox_interaction.c", "src/sandbox_journal.c", "src/sandbox_json.c",
        "src/sandbox_link.c", "src/sandbox_list.c", "src/sandbox_lookup.c", "src/sandbox_loop.c",
        "src/sandbox_members.c", "src/sandbox_message.c", "src/sandbox_news.c",
        "src/sandbox_order.c", "src/sandbox_parts.c", "src/sandbox_port.c", "src/sandbox_rate.c",
        "src/sandbox_request.c", "src/sandbox_rest.c", "src/sandbox_scene.c", "src/sandbox_seat.c",
        "src/sandbox_stream.c", "src/sandbox_tls.c", "src/sandbox_turn.c", "src/sandbox_watch.c",
        "src/sandbox_world.c",
      },
      defines = { "_GNU_SOURCE" },
      incdirs = include,
      libdirs = libraries,
      libraries = { "ssl", "crypto", "z", "zstd", "pthread" },
    },
  },
}

test = {
  type = "command",
  command = "make specs",
}
