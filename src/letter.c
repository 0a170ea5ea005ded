/* letter.c - see letter.h. */
#include "letter.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"

/* A spare letter has no event, but may have its memory. */
static void drop_letter(struct gate_node *node) {
    struct gate_letter *letter = (struct gate_letter *)node;
    gate_event_free(&letter->event);
    gate_allocate(letter, 0);
}

static void drop_letters(struct gate_node *node) {
    while (node) {
        struct gate_node *next = node->next;
        drop_letter(node);
        node = next;
    }
}

int gate_mail_init(struct gate_mail *mail, const struct gate_queue_limits *limits,
                   struct gate_span loose) {
    gate_buf_init(&mail->loose, 0, 0);
    int rc = gate_buf_append(&mail->loose, loose);
    if (rc == GATE_OK) rc = gate_queue_init(&mail->queue, limits, true);
    if (rc < 0) gate_buf_free(&mail->loose);
    return rc;
}

void gate_mail_free(struct gate_mail *mail) {
    gate_queue_free(&mail->queue, drop_letter);
    gate_buf_free(&mail->loose);
}

void gate_letterbox_init(struct gate_letterbox *box, struct gate_mail *mail) {
    *box = (struct gate_letterbox){.mail = mail};
}

void gate_letterbox_free(struct gate_letterbox *box) {
    if (box->spare) drop_letter(&box->spare->node);
    if (box->reserve) drop_letter(&box->reserve->node);
    box->spare = box->reserve = NULL;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* What may be missed: traces, of which there is one for each packet. */
static enum gate_node_kind kind_of(const struct gate_event *event) {
    static const char *const traces[] = {"send", "receive"};
    if (!event->own) return GATE_NODE_PAYLOAD;
    struct gate_span name = gate_event_name(event);
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++)
        if (strlen(traces[i]) == name.len && memcmp(traces[i], name.data, name.len) == 0)
            return GATE_NODE_NOTE;
    return GATE_NODE_VITAL;
}

bool gate_mail_loose(const struct gate_mail *mail, uint32_t at, struct gate_span *name) {
    const char *data = mail->loose.data, *end = data + mail->loose.len;
    for (uint32_t i = 0; data < end && i < GATE_DROP_EVENTS_MAX; i++) {
        *name = (struct gate_span){data, strnlen(data, (size_t)(end - data))};
        if (i == at) return true;
        data += name->len + 1;
    }
    return false;
}

/* Which of the names it has, from 1; 0: it is never dropped. */
static uint32_t find_loose(const struct gate_mail *mail, const struct gate_event *event) {
    const char *data = mail->loose.data, *end = data + mail->loose.len;
    struct gate_span name = gate_event_name(event);
    if (event->own) return 0;
    for (uint32_t i = 1; data < end && i <= GATE_DROP_EVENTS_MAX; i++) {
        size_t len = strnlen(data, (size_t)(end - data));
        if (len == name.len && memcmp(data, name.data, len) == 0) return i;
        data += len + 1;
    }
    return 0;
}

/* An empty letter; NULL: no memory. */
static struct gate_letter *take_letter(struct gate_letterbox *box) {
    struct gate_letter *letter = box->spare;
    box->spare = NULL;
    if (letter) gate_event_free(&letter->event);
    if (letter) return letter;
    letter = gate_allocate(NULL, sizeof *letter);
    if (letter) *letter = (struct gate_letter){.event = {.codec = NULL}};
    return letter;
}

struct gate_buf *gate_letterbox_spare(struct gate_letterbox *box) {
    return box->spare && box->spare->event.bytes.data ? &box->spare->event.bytes : NULL;
}

bool gate_letterbox_reserve(struct gate_letterbox *box) {
    if (!box->reserve) box->reserve = take_letter(box);
    return box->reserve != NULL;
}

static void miss(struct gate_letterbox *box, int shard_id) {
    gate_queue_miss(&box->mail->queue);
    box->missed++;
    box->missed_shard_id = shard_id;
}

/* What somebody waits for: the gateway does not send it again to whoever has counted it, nor is a
 * request answered twice. */
static bool is_awaited(const struct gate_event *event) {
    struct gate_span name = gate_event_name(event);
    return !event->own || (name.len == 4 && memcmp(name.data, "http", 4) == 0);
}

bool gate_letterbox_post(struct gate_letterbox *box, int shard_id, struct gate_event *take) {
    struct gate_letter *letter = take_letter(box);
    struct gate_node *spare = NULL, *dropped;
    if (!letter && is_awaited(take)) {
        letter = box->reserve;
        box->reserve = NULL;
    }
    if (!letter) {
        gate_event_free(take);
        miss(box, shard_id);
        return false;
    }
    take->shard_id = shard_id;
    letter->event = *take;
    letter->node = (struct gate_node){.bytes = sizeof *letter + take->bytes.capacity,
                                      .at_ms = gate_clock_ms(),
                                      .kind = kind_of(take),
                                      .loose = find_loose(box->mail, take)};
    int rc = gate_queue_push(&box->mail->queue, &letter->node, &spare, &dropped);
    if (rc < 0) drop_letter(&letter->node);
    box->spare = (struct gate_letter *)spare;
    drop_letters(dropped);
    return rc == GATE_OK;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The memory goes back with the letter it came in. */
static void give_back(struct gate_inbox *inbox, struct gate_event *event) {
    struct gate_letter *letter = (struct gate_letter *)inbox->used;
    bool small = event->bytes.capacity <= GATE_SPARE_BYTES_MAX;
    if (letter && small && !letter->event.bytes.data)
        gate_buf_move(&letter->event.bytes, &event->bytes);
    gate_event_free(event);
}

static void take_batch(struct gate_inbox *inbox, struct gate_queue *queue, bool *drained) {
    struct gate_node *unwanted;
    inbox->first = gate_queue_pop(queue, inbox->used, &unwanted, drained);
    inbox->used = NULL;
    drop_letters(unwanted);
    for (struct gate_node *node = inbox->first; node; node = node->next) {
        inbox->waiting++;
        if (node->kind != GATE_NODE_PAYLOAD) continue;
        inbox->count++;
        inbox->bytes += node->bytes;
    }
}

bool gate_inbox_next(struct gate_inbox *inbox, struct gate_queue *queue, struct gate_event *event,
                     bool *drained) {
    give_back(inbox, event);
    *drained = false;
    if (!inbox->first) take_batch(inbox, queue, drained);
    struct gate_letter *letter = (struct gate_letter *)inbox->first;
    if (!letter) return false;
    inbox->first = letter->node.next;
    inbox->waiting--;
    letter->node.next = inbox->used;
    inbox->used = &letter->node;
    if (letter->node.kind == GATE_NODE_PAYLOAD) {
        inbox->count--;
        inbox->bytes -= letter->node.bytes;
    }
    *event = letter->event;
    letter->event = (struct gate_event){.codec = NULL};
    return true;
}

void gate_inbox_free(struct gate_inbox *inbox) {
    drop_letters(inbox->first);
    drop_letters(inbox->used);
    *inbox = (struct gate_inbox){.first = NULL};
}

/* ---- Faults and questions -------------------------------------------------------------------- */

static int make_error(struct gate_event *out, int error, const char *phase, const char *message) {
    const char *code = gate_error_name(error);
    struct gate_field fields[] = {
        GATE_TEXT("code", ((struct gate_span){code, strlen(code)})),
        GATE_TEXT("phase", ((struct gate_span){phase, strlen(phase)})),
        GATE_TEXT("message", ((struct gate_span){message, strlen(message)})),
        {.key = NULL}};
    return gate_event_note(out, "error", fields);
}

void gate_letterbox_error(struct gate_letterbox *box, int shard_id, int error, const char *phase,
                          const char *message) {
    struct gate_event event;
    if (make_error(&event, error, phase, message) == GATE_OK)
        gate_letterbox_post(box, shard_id, &event);
    else
        miss(box, shard_id);
}

/* What it tells of must not be counted again when there is still no memory for it. */
void gate_letterbox_tell(struct gate_letterbox *box) {
    char message[160];
    struct gate_event event;
    if (box->missed == 0) return;
    snprintf(message, sizeof message,
             "events: %u of moongate's own found no memory; no dispatch is among them",
             (unsigned)box->missed);
    if (!box->spare) box->spare = take_letter(box);
    if (!box->spare || make_error(&event, GATE_EMEMORY, "events", message) < 0) return;
    box->missed = 0;
    gate_letterbox_post(box, box->missed_shard_id, &event);
}

/* Whoever reads it wants a time of day. */
void gate_letterbox_hold(struct gate_letterbox *box, int64_t wait_ms) {
    struct gate_event event;
    struct gate_field fields[] = {
        GATE_INTEGER("until", (int64_t)time(NULL) + (wait_ms + 999) / 1000), {.key = NULL}};
    if (gate_event_note(&event, "hold", fields) == GATE_OK)
        gate_letterbox_post(box, -1, &event);
    else
        miss(box, -1);
}

bool gate_letterbox_turn(struct gate_letterbox *box, int shard_id, int key, int64_t number) {
    struct gate_event event;
    struct gate_field fields[] = {
        GATE_INTEGER("key", key), GATE_INTEGER("number", number), {.key = NULL}};
    return gate_event_note(&event, "turn", fields) == GATE_OK &&
           gate_letterbox_post(box, shard_id, &event);
}

void gate_letterbox_turn_over(struct gate_letterbox *box, int shard_id, int64_t number,
                              int64_t spent_ms) {
    struct gate_event event;
    struct gate_field spent = GATE_INTEGER("spent_ms", spent_ms);
    if (spent_ms < 0) spent.kind = GATE_FIELD_ABSENT;
    struct gate_field fields[] = {GATE_INTEGER("number", number), spent, {.key = NULL}};
    if (gate_event_note(&event, "turn_over", fields) == GATE_OK)
        gate_letterbox_post(box, shard_id, &event);
    else
        miss(box, shard_id);
}

/* ---- Answers of HTTP requests ---------------------------------------------------------------- */

/* A body is JSON or is meant for a person, and a message is cut anywhere: bytes that are no UTF-8
 * become question marks. */
static struct gate_span clean(char *data, size_t len) {
    struct gate_span text = {data, len};
    if (!gate_text_is_utf8(text))
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)data[i] >= 0x80) data[i] = '?';
    return text;
}

static int write_text(struct gate_writer *to, const char *key, struct gate_span text) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, (struct gate_span){key, strlen(key)});
    return rc < 0 ? rc : json->text(to, text);
}

static int write_integer(struct gate_writer *to, const char *key, int64_t value) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, (struct gate_span){key, strlen(key)});
    return rc < 0 ? rc : json->integer(to, value);
}

static int write_headers(struct gate_writer *to, const struct gate_answer *answer) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, GATE_SPAN("headers"));
    if (rc == GATE_OK) rc = json->open_map(to);
    for (size_t i = 0; rc == GATE_OK && i < answer->header_count; i++)
        if (gate_text_is_utf8(answer->headers[i].value))
            rc = write_text(to, answer->headers[i].name, answer->headers[i].value);
    return rc < 0 ? rc : json->close_map(to);
}

static int write_failure(struct gate_writer *to, const struct gate_answer *answer) {
    char message[256];
    const char *name = gate_error_name(answer->error), *phase = gate_phase_word(answer->phase);
    int len = snprintf(message, sizeof message, "request: %s%s%.*s", phase, *phase ? ": " : "",
                       (int)answer->detail.len, answer->detail.data);
    size_t shown = len < 0 ? 0 : (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;
    int rc = write_text(to, "error", (struct gate_span){name, strlen(name)});
    if (rc == GATE_OK) rc = write_text(to, "phase", (struct gate_span){phase, strlen(phase)});
    return rc < 0 ? rc : write_text(to, "message", clean(message, shown));
}

static int write_answer(struct gate_event *out, const struct gate_answer *answer) {
    const struct gate_sink *json = gate_json.writer;
    struct gate_writer to;
    int rc = gate_json.begin(&to, &out->bytes, true);
    if (rc == GATE_OK) rc = json->open_map(&to);
    if (rc == GATE_OK) rc = write_integer(&to, "id", answer->id);
    if (rc == GATE_OK && answer->status) rc = write_integer(&to, "status", answer->status);
    if (rc == GATE_OK && answer->error) rc = write_failure(&to, answer);
    if (rc == GATE_OK && !answer->error)
        rc = write_text(&to, "body", clean(answer->body->data, answer->body->len));
    if (rc == GATE_OK && !answer->error) rc = write_headers(&to, answer);
    return rc < 0 ? rc : json->close_map(&to);
}

static int make_answer(struct gate_event *out, const struct gate_answer *answer) {
    *out = (struct gate_event){.codec = &gate_json, .own = true, .name_len = strlen("http")};
    gate_buf_init(&out->bytes, 0, 0);
    int rc = gate_buf_append(&out->bytes, GATE_SPAN("http"));
    if (rc == GATE_OK) rc = write_answer(out, answer);
    if (rc < 0) {
        gate_event_free(out);
        return rc;
    }
    out->data_at = out->name_len;
    out->data_len = out->bytes.len - out->data_at;
    return GATE_OK;
}

/* Somebody waits for it: a large one that finds no memory becomes a small one. */
void gate_letterbox_answer(struct gate_letterbox *box, const struct gate_answer *answer) {
    struct gate_event event;
    const char *text = gate_error_text(GATE_EMEMORY);
    struct gate_answer none = {
        .id = answer->id, .error = GATE_EMEMORY, .detail = {text, strlen(text)}};
    if (make_answer(&event, answer) == GATE_OK || make_answer(&event, &none) == GATE_OK)
        gate_letterbox_post(box, -1, &event);
    else
        miss(box, -1);
}
