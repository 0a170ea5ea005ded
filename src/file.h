/* file.h - a file that is replaced whole or not at all, and a lock between processes.
 * Called by lua_store.c on the Lua thread; never on the I/O thread, as each call may wait for the
 * disk. */
#ifndef MOONGATE_FILE_H
#define MOONGATE_FILE_H

#include "moongate.h"

/* Writes `bytes` aside, makes sure that they are on the disk, and renames them over `path`: a
 * reader finds the old content or the new, never a part, also after a crash. Only the user may read
 * it. Where `path` is a link, the file behind it is replaced; a device or the like never is.
 * GATE_EVALUE for an over-long path; GATE_ESYSTEM with errno set and *step naming what failed.
 */
GATE_MUST_CHECK int gate_file_replace(const char *path, struct gate_span bytes, const char **step);

/* Takes the lock file `path`, which is made where it is missing. Waits at most `timeout_ms`, which
 * may be 0. A descriptor for gate_file_unlock, or GATE_EBUSY, or GATE_ESYSTEM with
 * errno set. A process that dies gives its locks back. */
GATE_MUST_CHECK int gate_file_lock(const char *path, int timeout_ms);
void gate_file_unlock(int descriptor);

#endif
