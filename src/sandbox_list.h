/* sandbox_list.h - what a sandbox tells about its connections once they are gone.
 * Called by sandbox_link.c under the lock; the lists themselves are functions of sandbox.h. */
#ifndef MOONGATE_SANDBOX_LIST_H
#define MOONGATE_SANDBOX_LIST_H

struct gate_link;

/* Keeps a description of a connection that has just ended. */
void gate_list_keep(struct gate_link *link);

#endif
