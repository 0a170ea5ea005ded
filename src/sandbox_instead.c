/* sandbox_instead.c - see sandbox_instead.h. Where a session is held already, it goes the way that
 * the answer implies: a resumable op 9 keeps it, a code like 4009 ends it. */
#include "sandbox_instead.h"

#include <string.h>

#include "sandbox_gateway.h"
#include "sandbox_state.h"

struct gate_substitute {
    struct gate_substitute *next;
    struct gate_sandbox_instead what; /* its text points to `bytes` */
    char bytes[];
};

int gate_instead_keep(struct gate_sandbox *sandbox, const struct gate_sandbox_instead *instead) {
    struct gate_substitute *kept = gate_allocate(NULL, sizeof *kept + instead->text.len);
    if (!kept) return GATE_EMEMORY;
    *kept = (struct gate_substitute){.next = NULL, .what = *instead};
    if (instead->text.len > 0) memcpy(kept->bytes, instead->text.data, instead->text.len);
    kept->what.text.data = kept->bytes;
    struct gate_substitute **end = &sandbox->substitutes;
    while (*end) end = &(*end)->next;
    *end = kept;
    return GATE_OK;
}

static void perform(struct gate_link *link, const struct gate_sandbox_instead *what) {
    switch (what->deed) {
    case GATE_INSTEAD_PAYLOAD: gate_link_send(link, what->text); break;
    case GATE_INSTEAD_CLOSE: gate_link_close(link, what->code, what->text); break;
    case GATE_INSTEAD_DROP: gate_link_ask_drop(link, what->on); break;
    case GATE_INSTEAD_INVALID: gate_gateway_invalidate(link, what->on); break;
    }
}

bool gate_instead_play(struct gate_link *link, enum gate_sandbox_phase phase) {
    static const char *const words[] = {"HELLO", "READY", "RESUMED", "an ACK"};
    struct gate_substitute **place = &link->sandbox->substitutes;
    while (*place && (*place)->what.phase != phase) place = &(*place)->next;
    struct gate_substitute *found = *place;
    if (!found) return false;
    gate_sandbox_log(link->sandbox, link, "instead", "of %s", words[phase]);
    perform(link, &found->what);
    if (found->what.times == 0 || --found->what.times > 0) return true;
    *place = found->next;
    gate_allocate(found, 0);
    return true;
}

void gate_instead_forget(struct gate_sandbox *sandbox) {
    while (sandbox->substitutes) {
        struct gate_substitute *first = sandbox->substitutes;
        sandbox->substitutes = first->next;
        gate_allocate(first, 0);
    }
}
