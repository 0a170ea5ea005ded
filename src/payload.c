/* payload.c - see payload.h. Writing goes through the codec's writer, reading through a small sink
 * that picks fields of the outermost map. */
#include "payload.h"

#include <limits.h>
#include <string.h>

/* ---- Writing --------------------------------------------------------------------------------- */

/* A writer whose first error sticks, so that a payload reads as its list of fields. */
struct pen {
    const struct gate_sink *sink;
    struct gate_writer writer;
    int rc;
};

static struct gate_span span_of(const char *text) {
    return (struct gate_span){text, strlen(text)};
}

static void put_key(struct pen *pen, const char *key) {
    if (pen->rc == GATE_OK) pen->rc = pen->sink->key(&pen->writer, span_of(key));
}

static void put_text(struct pen *pen, const char *key, struct gate_span text) {
    put_key(pen, key);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->text(&pen->writer, text);
}

static void put_integer(struct pen *pen, const char *key, int64_t value) {
    put_key(pen, key);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->integer(&pen->writer, value);
}

static void put_flag(struct pen *pen, const char *key, bool value) {
    put_key(pen, key);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->boolean(&pen->writer, value);
}

static void open_map(struct pen *pen, const char *key) {
    if (key) put_key(pen, key);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->open_map(&pen->writer);
}

static void close_map(struct pen *pen) {
    if (pen->rc == GATE_OK) pen->rc = pen->sink->close_map(&pen->writer);
}

static void begin(struct pen *pen, const struct gate_codec *codec, struct gate_buf *out, int op) {
    pen->sink = codec->writer;
    pen->rc = codec->begin(&pen->writer, out, true);
    open_map(pen, NULL);
    put_integer(pen, "op", op);
}

/* d must be present even when it is null: {"op":1} was answered with a close (protocol: Gateway
 * Events, payload structure). */
int gate_payload_heartbeat(const struct gate_codec *codec, struct gate_buf *out, int64_t seq) {
    struct pen pen;
    begin(&pen, codec, out, GATE_OP_HEARTBEAT);
    if (seq >= 0) {
        put_integer(&pen, "d", seq);
    } else {
        put_key(&pen, "d");
        if (pen.rc == GATE_OK) pen.rc = pen.sink->null(&pen.writer);
    }
    close_map(&pen);
    return pen.rc;
}

static void put_properties(struct pen *pen, const struct gate_options *options) {
    open_map(pen, "properties");
    put_text(pen, "os", options->os);
    put_text(pen, "browser", options->browser);
    put_text(pen, "device", options->device);
    close_map(pen);
}

static void put_shard(struct pen *pen, const struct gate_options *options) {
    put_key(pen, "shard");
    if (pen->rc == GATE_OK) pen->rc = pen->sink->open_list(&pen->writer);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->integer(&pen->writer, options->shard_id);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->integer(&pen->writer, options->shard_count);
    if (pen->rc == GATE_OK) pen->rc = pen->sink->close_list(&pen->writer);
}

/* The presence is kept as JSON and copied value by value into whatever encoding is spoken. */
static void put_presence(struct pen *pen, struct gate_span presence) {
    struct gate_buf scratch;
    gate_buf_init(&scratch, 0, 0);
    put_key(pen, "presence");
    if (pen->rc == GATE_OK) pen->rc = gate_json.walk(presence, pen->sink, &pen->writer, &scratch);
    gate_buf_free(&scratch);
}

int gate_payload_identify(const struct gate_codec *codec, struct gate_buf *out,
                          const struct gate_options *options, struct gate_span token) {
    struct pen pen;
    begin(&pen, codec, out, GATE_OP_IDENTIFY);
    open_map(&pen, "d");
    put_text(&pen, "token", token);
    put_integer(&pen, "intents", options->intents);
    put_properties(&pen, options);
    if (options->compress == GATE_COMPRESS_PAYLOAD) put_flag(&pen, "compress", true);
    if (options->large_threshold) put_integer(&pen, "large_threshold", options->large_threshold);
    if (options->shard_count > 0) put_shard(&pen, options);
    if (options->presence.len) put_presence(&pen, options->presence);
    close_map(&pen);
    close_map(&pen);
    return pen.rc;
}

int gate_payload_resume(const struct gate_codec *codec, struct gate_buf *out,
                        struct gate_span token, const char *session_id, int64_t seq) {
    struct pen pen;
    begin(&pen, codec, out, GATE_OP_RESUME);
    open_map(&pen, "d");
    put_text(&pen, "token", token);
    put_text(&pen, "session_id", span_of(session_id));
    put_integer(&pen, "seq", seq);
    close_map(&pen);
    close_map(&pen);
    return pen.rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Where a picked field goes: text into an array, an integer, a number or a boolean. */
struct wish {
    const char *key;
    const char *within; /* the key of the map that has it, which the outermost one has; or NULL */
    char *text;
    size_t text_max;
    int64_t *integer;
    double *number;
    bool *flag;
    bool *there; /* set for anything but null, lists and maps too */
};

struct picker {
    const struct wish *wishes; /* ended by a NULL key */
    const struct wish *next;   /* the wish that the next value fulfils, or NULL */
    const char *within;        /* the map of the second level that is being read, or NULL */
    uint32_t depth;
};

static const struct wish *take_wish(struct picker *picker) {
    const struct wish *wish = picker->next;
    picker->next = NULL;
    if (wish && wish->there) *wish->there = true;
    return wish;
}

static int pick_null(void *to) {
    struct picker *picker = to;
    picker->next = NULL;
    return GATE_OK;
}

static int pick_boolean(void *to, bool value) {
    const struct wish *wish = take_wish(to);
    if (wish && wish->flag) *wish->flag = value;
    return GATE_OK;
}

static int pick_integer(void *to, int64_t value) {
    const struct wish *wish = take_wish(to);
    if (wish && wish->integer) *wish->integer = value;
    if (wish && wish->number) *wish->number = (double)value;
    return GATE_OK;
}

/* An interval of 41250.0 is as good as 41250. */
static int pick_number(void *to, double value) {
    const struct wish *wish = take_wish(to);
    if (wish && wish->integer && value >= 0 && value < 9007199254740992.0)
        *wish->integer = (int64_t)value;
    if (wish && wish->number) *wish->number = value;
    return GATE_OK;
}

static int pick_text(void *to, struct gate_span text) {
    const struct wish *wish = take_wish(to);
    bool fits = wish && wish->text && text.len <= wish->text_max;
    if (!fits || (text.len && memchr(text.data, '\0', text.len))) return GATE_OK;
    memcpy(wish->text, text.data, text.len);
    wish->text[text.len] = '\0';
    return GATE_OK;
}

static bool is_word(const char *word, struct gate_span text) {
    return word && strlen(word) == text.len && memcmp(word, text.data, text.len) == 0;
}

static bool is_same(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int pick_key(void *to, struct gate_span text) {
    struct picker *picker = to;
    bool outermost = picker->depth == 1;
    picker->next = NULL;
    if (outermost) picker->within = NULL;
    if (!outermost && (picker->depth != 2 || !picker->within)) return GATE_OK;
    const char *within = picker->within;
    for (const struct wish *wish = picker->wishes; wish->key; wish++) {
        if (outermost && is_word(wish->within, text)) picker->within = wish->within;
        if (is_same(wish->within, within) && is_word(wish->key, text)) picker->next = wish;
    }
    return GATE_OK;
}

static int pick_open(void *to) {
    struct picker *picker = to;
    take_wish(picker);
    picker->depth++;
    return GATE_OK;
}

static int pick_close(void *to) {
    struct picker *picker = to;
    picker->depth--;
    return GATE_OK;
}

/* A list counts as two levels, so that a map inside an outermost list is not taken for the map. */
static int pick_open_list(void *to) {
    struct picker *picker = to;
    picker->within = NULL;
    picker->depth++;
    return pick_open(to);
}

static int pick_close_list(void *to) {
    struct picker *picker = to;
    picker->depth--;
    return pick_close(to);
}

static const struct gate_sink picker_sink = {
    .null = pick_null,
    .boolean = pick_boolean,
    .integer = pick_integer,
    .number = pick_number,
    .text = pick_text,
    .open_list = pick_open_list,
    .close_list = pick_close_list,
    .open_map = pick_open,
    .key = pick_key,
    .close_map = pick_close,
};

static int pick(const struct gate_codec *codec, struct gate_span data, struct picker *picker) {
    struct gate_buf scratch;
    gate_buf_init(&scratch, 0, 0);
    int rc = codec->walk(data, &picker_sink, picker, &scratch);
    gate_buf_free(&scratch);
    return rc;
}

int gate_payload_read_hello(const struct gate_codec *codec, struct gate_span data,
                            int64_t *interval_ms) {
    *interval_ms = 0;
    const struct wish wishes[] = {{.key = "heartbeat_interval", .integer = interval_ms},
                                  {.key = NULL}};
    int rc = pick(codec, data, &(struct picker){.wishes = wishes});
    if (rc < 0) return rc;
    bool sane = *interval_ms >= GATE_INTERVAL_MS_MIN && *interval_ms <= GATE_INTERVAL_MS_MAX;
    return sane ? GATE_OK : GATE_ESYNTAX;
}

int gate_payload_read_ready(const struct gate_codec *codec, struct gate_span data,
                            char session_id[GATE_SESSION_ID_BYTES_MAX + 1],
                            char resume_url[GATE_URL_BYTES_MAX + 1]) {
    session_id[0] = '\0';
    resume_url[0] = '\0';
    const struct wish wishes[] = {
        {.key = "session_id", .text = session_id, .text_max = GATE_SESSION_ID_BYTES_MAX},
        {.key = "resume_gateway_url", .text = resume_url, .text_max = GATE_URL_BYTES_MAX},
        {.key = NULL}};
    int rc = pick(codec, data, &(struct picker){.wishes = wishes});
    if (rc < 0) return rc;
    return session_id[0] ? GATE_OK : GATE_ESYNTAX;
}

int gate_payload_read_presence(const struct gate_codec *codec, struct gate_span command,
                               struct gate_buf *out) {
    struct gate_envelope envelope;
    struct gate_writer writer;
    struct gate_buf scratch;
    int rc = codec->scan(command, &envelope);
    if (rc == GATE_OK && (envelope.op != GATE_OP_PRESENCE_UPDATE || !envelope.data.len))
        rc = GATE_ESYNTAX;
    if (rc == GATE_OK) rc = gate_json.begin(&writer, out, false);
    if (rc < 0) return rc;
    size_t at = out->len;
    gate_buf_init(&scratch, 0, 0);
    rc = codec->walk(envelope.data, gate_json.writer, &writer, &scratch);
    gate_buf_free(&scratch);
    if (rc < 0) return rc;
    return out->len > at && out->data[at] == '{' ? GATE_OK : GATE_ESYNTAX;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* An id has at most 20 digits. Discord's own come as text; a short one may come as a number. */
#define ID_DIGITS_MAX 20

/* 0: it is no id. */
static uint64_t read_id(const char *text, int64_t integer) {
    uint64_t id = 0;
    if (integer > 0) return (uint64_t)integer;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return 0;
        uint64_t digit = (uint64_t)(*text - '0');
        if (id > (UINT64_MAX - digit) / 10) return 0;
        id = id * 10 + digit;
    }
    return id;
}

/* The query only fits when it is empty: any other leaves the mark that stands in its place. */
static int read_members(const struct gate_codec *codec, struct gate_span data,
                        struct gate_errand *out) {
    char guild[ID_DIGITS_MAX + 1] = "", query[] = "?";
    int64_t number = 0, limit = 0;
    bool names_users = false;
    const struct wish wishes[] = {
        {.key = "guild_id", .text = guild, .text_max = ID_DIGITS_MAX, .integer = &number},
        {.key = "query", .text = query, .text_max = 0},
        {.key = "limit", .integer = &limit},
        {.key = "user_ids", .there = &names_users},
        {.key = NULL}};
    int rc = pick(codec, data, &(struct picker){.wishes = wishes});
    out->guild_id = read_id(guild, number);
    out->all_members = !query[0] && limit == 0 && !names_users && out->guild_id != 0;
    return rc;
}

/* Other commands may be for a guild as well. */
static int read_guild(const struct gate_codec *codec, struct gate_span data,
                      struct gate_errand *out) {
    char guild[ID_DIGITS_MAX + 1] = "";
    int64_t number = 0;
    const struct wish wishes[] = {
        {.key = "guild_id", .text = guild, .text_max = ID_DIGITS_MAX, .integer = &number},
        {.key = NULL}};
    int rc = pick(codec, data, &(struct picker){.wishes = wishes});
    out->guild_id = read_id(guild, number);
    return rc;
}

int gate_payload_read_errand(const struct gate_codec *codec, struct gate_span command,
                             struct gate_errand *out) {
    struct gate_envelope envelope;
    *out = (struct gate_errand){.op = -1};
    if (codec->scan(command, &envelope) < 0) return GATE_OK;
    out->op = envelope.op;
    if (!envelope.data.len) return GATE_OK;
    int rc = envelope.op == GATE_OP_REQUEST_GUILD_MEMBERS ? read_members(codec, envelope.data, out)
                                                          : read_guild(codec, envelope.data, out);
    return rc == GATE_EMEMORY ? rc : GATE_OK;
}

int gate_payload_read_limited(const struct gate_codec *codec, struct gate_span data,
                              struct gate_limited *out) {
    char guild[ID_DIGITS_MAX + 1] = "";
    int64_t op = -1, number = 0;
    double seconds = 0;
    bool one_guild = false;
    const struct wish wishes[] = {{.key = "opcode", .integer = &op},
                                  {.key = "retry_after", .number = &seconds},
                                  {.key = "guild_id",
                                   .within = "meta",
                                   .text = guild,
                                   .text_max = ID_DIGITS_MAX,
                                   .integer = &number,
                                   .there = &one_guild},
                                  {.key = NULL}};
    int rc = pick(codec, data, &(struct picker){.wishes = wishes});
    if (rc < 0) return rc;
    *out = (struct gate_limited){.op = (int)op, .guild_id = read_id(guild, number)};
    bool sane = op >= 0 && op <= INT_MAX && seconds > 0 && (!one_guild || out->guild_id);
    if (!sane) return GATE_ESYNTAX;
    bool longer = seconds >= (double)GATE_LIMITED_MS_MAX / 1000;
    out->wait_ms = longer ? GATE_LIMITED_MS_MAX : (int64_t)(seconds * 1000) + 1;
    return GATE_OK;
}

bool gate_payload_read_invalid(const struct gate_codec *codec, struct gate_span data) {
    bool resumable = false;
    const struct wish wish = {.key = "", .flag = &resumable};
    struct picker picker = {.wishes = &(struct wish){.key = NULL}, .next = &wish};
    int rc = data.len ? pick(codec, data, &picker) : GATE_ESYNTAX;
    return rc == GATE_OK && resumable;
}
