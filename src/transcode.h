/* transcode.h - what one encoding says, said in another.
 * Called by session.c and shard.c on the I/O thread, by lua_engine.c on the Lua thread. Pure. */
#ifndef MOONGATE_TRANSCODE_H
#define MOONGATE_TRANSCODE_H

#include "codec.h"

/* Appends the one value that `value` holds to `out` as `to` has it; a value of JSON is its text,
 * one of ETF a term without the version in front. Both may be the same encoding. On failure `out`
 * may have got a part of it. GATE_ESYNTAX and GATE_EDEPTH as `from` reads, GATE_EVALUE for a number
 * that `to` has no form for (an infinity), GATE_EMESSAGE over the cap of `out`, GATE_EMEMORY. */
GATE_MUST_CHECK int gate_transcode(const struct gate_codec *from, struct gate_span value,
                                   const struct gate_codec *to, struct gate_buf *out);

/* Makes `packet`, a whole message of any encoding, one of `to`: in place, unless it is one already,
 * which is not looked into. What it was before is wiped. On failure nothing has changed: errors as
 * above, and GATE_ESYNTAX when it is a message of no encoding. */
GATE_MUST_CHECK int gate_transcode_packet(const struct gate_codec *to, struct gate_buf *packet);

#endif
