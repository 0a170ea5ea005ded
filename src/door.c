/* door.c - see door.h. */
#include "door.h"

#define NEVER (-1)

void gate_door_init(struct gate_door *door, uint32_t places) {
    *door = (struct gate_door){.places = places ? places : 1};
}

static bool has_room(const struct gate_door *door, bool resumes) {
    if (door->crowd.inside >= door->places) return false;
    return !resumes || door->places == 1 || door->resuming < door->places - 1;
}

void gate_door_wait(struct gate_door *door, struct gate_guest *guest) {
    if (guest->waiting) return;
    guest->waiting = true;
    guest->next = NULL;
    if (door->last)
        door->last->next = guest;
    else
        door->first = guest;
    door->last = guest;
    door->crowd.waiting++;
}

/* The guest is in that list: its flags say so. */
static void unlink_guest(struct gate_guest **first, struct gate_guest **last,
                         struct gate_guest *guest) {
    struct gate_guest *before = NULL;
    for (struct gate_guest *at = *first; at != guest; at = at->next) before = at;
    *(before ? &before->next : first) = guest->next;
    if (*last == guest) *last = before;
    guest->next = NULL;
}

static void step_out(struct gate_door *door, struct gate_guest *guest) {
    unlink_guest(&door->first, &door->last, guest);
    guest->waiting = false;
    door->crowd.waiting--;
}

static void give_place_back(struct gate_door *door, struct gate_guest *guest) {
    unlink_guest(&door->oldest, &door->newest, guest);
    guest->inside = false;
    door->resuming -= guest->resumes;
    door->crowd.inside--;
}

void gate_door_look(struct gate_door *door, int64_t now_ms) {
    while (door->oldest && door->oldest->entered_ms + GATE_DOOR_PLACE_MS <= now_ms) {
        struct gate_guest *guest = door->oldest;
        give_place_back(door, guest);
        guest->slow = true;
        door->crowd.slow++;
    }
}

struct gate_guest *gate_door_next(struct gate_door *door) {
    struct gate_guest *guest = door->first;
    if (!guest || !has_room(door, true)) return NULL;
    step_out(door, guest);
    return guest;
}

/* While resumes wait, those who identify have the one place that is kept for them. */
bool gate_door_admits(const struct gate_door *door, bool resumes) {
    if (!has_room(door, resumes)) return false;
    if (!door->first) return true;
    return !resumes && door->places > 1 && door->crowd.inside == door->resuming;
}

void gate_door_enter(struct gate_door *door, struct gate_guest *guest, bool resumes,
                     int64_t now_ms) {
    if (guest->inside || guest->slow) return;
    if (guest->waiting) step_out(door, guest);
    guest->inside = true;
    guest->resumes = resumes;
    guest->entered_ms = now_ms;
    guest->next = NULL;
    *(door->newest ? &door->newest->next : &door->oldest) = guest;
    door->newest = guest;
    door->resuming += resumes;
    door->crowd.inside++;
    if (door->crowd.inside > door->crowd.inside_peak) door->crowd.inside_peak = door->crowd.inside;
}

void gate_door_leave(struct gate_door *door, struct gate_guest *guest) {
    if (guest->waiting) step_out(door, guest);
    if (guest->inside) give_place_back(door, guest);
    if (guest->slow) door->crowd.slow--;
    guest->slow = false;
}

int64_t gate_door_deadline(const struct gate_door *door, int64_t now_ms) {
    if (!door->first) return NEVER;
    return has_room(door, true) ? now_ms : now_ms + GATE_DOOR_LOOK_MS;
}
