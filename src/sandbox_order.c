/* sandbox_order.c - what a script tells its sandbox to do; see sandbox.h.
 * Called on the script's thread. Each order is a row: what it does to one connection. */
#include <string.h>

#include "sandbox_gateway.h"
#include "sandbox_http.h"
#include "sandbox_loop.h"
#include "sandbox_news.h"
#include "sandbox_state.h"
#include "sandbox_turn.h"

static bool is_everybody(const struct gate_sandbox_target *target) {
    return target->connection < 0 && target->shard < 0 && target->session.len == 0;
}

static bool matches_link(const struct gate_link *link, const struct gate_sandbox_target *target) {
    if (target->connection >= 0 && link->id != target->connection) return false;
    if (target->shard >= 0 && (!link->session[0] || link->shard_id != target->shard)) return false;
    return gate_target_has(target, link->session);
}

/* ---- Orders to one connection ------------------------------------------------------------------
 */

static void order_close(struct gate_link *link, const struct gate_sandbox_order *order) {
    gate_link_close(link, order->number < 0 ? 0 : (int)order->number, order->text);
}

static void order_invalid(struct gate_link *link, const struct gate_sandbox_order *order) {
    gate_gateway_invalidate(link, order->on);
}

static void order_reconnect(struct gate_link *link, const struct gate_sandbox_order *order) {
    (void)order;
    gate_gateway_send(link, GATE_OP_RECONNECT, GATE_SPAN("null"));
}

static void order_heartbeat(struct gate_link *link, const struct gate_sandbox_order *order) {
    for (int64_t i = 0; i < order->number; i++)
        gate_gateway_send(link, GATE_OP_HEARTBEAT, GATE_SPAN("null"));
}

static void order_payload(struct gate_link *link, const struct gate_sandbox_order *order) {
    gate_link_send(link, order->text);
}

static void order_raw(struct gate_link *link, const struct gate_sandbox_order *order) {
    struct gate_buf frame;
    gate_buf_init(&frame, 0, 0);
    int rc = order->number < 0 ? gate_buf_append(&frame, order->text)
                               : gate_frame_write(&frame, (int)order->number, order->text);
    if (rc == GATE_OK)
        gate_link_write(link, gate_buf_span(&frame));
    else
        gate_link_ask_drop(link, true);
    gate_buf_free(&frame);
}

static void order_drop(struct gate_link *link, const struct gate_sandbox_order *order) {
    gate_link_ask_drop(link, order->on);
}

static void order_corrupt(struct gate_link *link, const struct gate_sandbox_order *order) {
    link->corrupt += order->number;
}

static void order_swallow(struct gate_link *link, const struct gate_sandbox_order *order) {
    link->swallow += order->number;
}

static void order_stutter(struct gate_link *link, const struct gate_sandbox_order *order) {
    link->stutter += order->number;
}

/* ---- The sandbox itself ------------------------------------------------------------------------
 */

static void turn_sandbox(struct gate_sandbox *sandbox, const struct gate_sandbox_order *order) {
    switch (order->verb) {
    case GATE_ORDER_LIMITS: sandbox->options.limits = order->on; break;
    case GATE_ORDER_CLOCK: sandbox->options.clock_skew_ms = order->number; break;
    case GATE_ORDER_RESUME_HOST: sandbox->resume_wanted = order->on; break;
    default: break;
    }
    gate_loop_changed();
    gate_loop_wake();
}

/* ---- Knobs -------------------------------------------------------------------------------------
 */

static void turn_knob(struct gate_knobs *knobs, const struct gate_sandbox_order *order) {
    uint32_t bits = (uint32_t)order->number;
    switch (order->verb) {
    case GATE_ORDER_WITHHOLD: knobs->withhold_acks = order->on; break;
    case GATE_ORDER_HALF_OPEN: knobs->half_open = order->on; break;
    case GATE_ORDER_STALL:
        knobs->stalls = order->on ? knobs->stalls | bits : knobs->stalls & ~bits;
        break;
    case GATE_ORDER_MASK: knobs->mask_frames = order->on; break;
    case GATE_ORDER_SPLIT:
        knobs->frame_bytes = (size_t)order->number;
        knobs->frame_bytes_most = (size_t)order->most;
        break;
    case GATE_ORDER_SPLIT_MESSAGES:
        knobs->message_bytes = (size_t)order->number;
        knobs->message_bytes_most = (size_t)order->most;
        break;
    case GATE_ORDER_TRICKLE:
        knobs->trickle_bytes = (size_t)order->number;
        knobs->trickle_ms = order->pause_ms;
        break;
    case GATE_ORDER_CUT:
        knobs->cut_bytes = (size_t)order->number;
        knobs->cut_reset = order->on;
        break;
    default: break;
    }
}

static void order_knob(struct gate_link *link, const struct gate_sandbox_order *order) {
    turn_knob(&link->knobs, order);
    if (!(link->knobs.stalls & GATE_STALL_UPGRADE)) gate_http_release(link);
    gate_gateway_release(link);
    gate_link_release(link);
    gate_turn_look(link);
}

static const struct order_row {
    enum gate_sandbox_verb verb;
    bool knob;    /* also of connections to come, and of those that are HTTP yet */
    bool closing; /* makes sense after a close frame */
    /* NULL: it is meant for the sandbox itself. */
    void (*apply)(struct gate_link *link, const struct gate_sandbox_order *order);
} order_rows[] = {
    {GATE_ORDER_DROP, false, true, order_drop},
    {GATE_ORDER_CLOSE, false, false, order_close},
    {GATE_ORDER_INVALID_SESSION, false, false, order_invalid},
    {GATE_ORDER_RECONNECT, false, false, order_reconnect},
    {GATE_ORDER_HEARTBEAT, false, false, order_heartbeat},
    {GATE_ORDER_PAYLOAD, false, false, order_payload},
    {GATE_ORDER_RAW, false, true, order_raw},
    {GATE_ORDER_CORRUPT, false, false, order_corrupt},
    {GATE_ORDER_SWALLOW, false, false, order_swallow},
    {GATE_ORDER_STUTTER, false, false, order_stutter},
    {GATE_ORDER_LIMITS, false, false, NULL},
    {GATE_ORDER_CLOCK, false, false, NULL},
    {GATE_ORDER_RESUME_HOST, false, false, NULL},
    {GATE_ORDER_MASK, true, true, order_knob},
    {GATE_ORDER_WITHHOLD, true, true, order_knob},
    {GATE_ORDER_HALF_OPEN, true, true, order_knob},
    {GATE_ORDER_STALL, true, true, order_knob},
    {GATE_ORDER_SPLIT, true, true, order_knob},
    {GATE_ORDER_SPLIT_MESSAGES, true, true, order_knob},
    {GATE_ORDER_TRICKLE, true, true, order_knob},
    {GATE_ORDER_CUT, true, true, order_knob},
};

static const struct order_row *find_order(enum gate_sandbox_verb verb) {
    size_t i = 0;
    while (order_rows[i].verb != verb) i++;
    return &order_rows[i];
}

/* A stalled upgrade has its number but is no WebSocket yet: only drops and knobs reach it. */
static bool can_take(const struct gate_link *link, const struct order_row *row) {
    if (link->state == GATE_LINK_CLOSED) return false;
    if (row->knob) return true;
    if (link->id == 0) return false;
    return row->closing || link->state == GATE_LINK_OPEN;
}

static int give_order(struct gate_sandbox *sandbox, const struct gate_sandbox_order *order) {
    const struct order_row *row = find_order(order->verb);
    int count = 0;
    if (!row->apply) {
        turn_sandbox(sandbox, order);
        return 0;
    }
    if (row->knob && is_everybody(&order->target)) turn_knob(&sandbox->knobs, order);
    bool to_come = order->verb == GATE_ORDER_CUT && is_everybody(&order->target);
    for (struct gate_link *link = to_come ? NULL : sandbox->links; link; link = link->next) {
        if (!can_take(link, row) || !matches_link(link, &order->target)) continue;
        row->apply(link, order);
        if (link->id > 0) count++;
    }
    gate_loop_changed();
    gate_loop_wake();
    return count;
}

int gate_sandbox_order(struct gate_sandbox *sandbox, const struct gate_sandbox_order *order) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int count = give_order(sandbox, order);
    gate_loop_unlock();
    if ((order->verb == GATE_ORDER_DROP && count > 0) || order->verb == GATE_ORDER_RESUME_HOST)
        gate_loop_turn();
    return count;
}

/* ---- Events ------------------------------------------------------------------------------------
 */

int gate_sandbox_dispatch(struct gate_sandbox *sandbox, const struct gate_sandbox_target *target,
                          const struct gate_sandbox_event *event) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int count = gate_news_tell(sandbox, target, event);
    if (count >= 0)
        gate_sandbox_log(sandbox, NULL, "dispatch", "%.*s to %d session%s", (int)event->name.len,
                         event->name.data, count, count == 1 ? "" : "s");
    gate_loop_unlock();
    return count;
}
