/* unit_skip.h - stepping over a container in each of the ways that json_skip.h is compiled, for
 * unit_skip.c. Each returns GATE_OK with *used, the bytes up to behind the container that `text`
 * begins with, or an error. */
#ifndef MOONGATE_UNIT_SKIP_H
#define MOONGATE_UNIT_SKIP_H

#include "../src/moongate.h"

int unit_skip_plain(struct gate_span text, size_t *used); /* eight bytes at a time */
int unit_skip_narrow(struct gate_span text, size_t *used);
int unit_skip_wide(struct gate_span text, size_t *used);
bool unit_skip_is_wide(void); /* this machine has the registers */

#endif
