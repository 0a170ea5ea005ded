/* sandbox_json.h - JSON texts of the sandbox, taken apart and put together without being decoded.
 * Called by the sandbox_*.c files under the lock. Every text must be correct JSON already (a
 * success of gate_fields_read says so): what is not is read as far as it goes, never beyond. */
#ifndef MOONGATE_SANDBOX_JSON_H
#define MOONGATE_SANDBOX_JSON_H

#include "buf.h"
#include "moongate.h"

/* Whether the text is an object. */
bool gate_json_is_object(struct gate_span json);

/* Goes through the members of an object: *rest is the object at first and belongs to this function
 * afterwards. A key comes without its quotes, a value as it stands. False behind the last. */
bool gate_json_next(struct gate_span *rest, struct gate_span *key, struct gate_span *value);

/* The same with the items of a list. */
bool gate_json_item(struct gate_span *rest, struct gate_span *item);

/* The value behind "a" or "a.b.c"; no data when it is not there. Keys with escapes are not found.
 */
struct gate_span gate_json_find(struct gate_span object, const char *path);

/* A string without its quotes (escapes stay), or a number; no data for anything else. */
struct gate_span gate_json_plain(struct gate_span value);

/* The id that a string or a number holds; 0 when it is none. */
uint64_t gate_json_id(struct gate_span value);

/* How many characters a string has, escapes and UTF-8 counted as what they stand for. */
size_t gate_json_length(struct gate_span string);

/* Appends `base` with what `given` has instead: members that both have as objects are merged in
 * turn, everything else of `given` replaces or follows. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_json_merge(struct gate_buf *out, struct gate_span base,
                                    struct gate_span given);

#endif
