/* simulator.c - the shard machine against a simulated gateway and a simulated network in virtual
 * time: simulated weeks of every failure of other clients, each from a seed. Links the pure core
 * alone: no thread, no socket, no clock.
 *
 *   simulator [-s SEEDS] [-f FIRST] [-d DAYS] [-n SHARDS] [-j JOBS]   many seeds; counts at the end
 *   simulator -1 SEED [-d DAYS] [-n SHARDS] [-w SHARD]                one seed with its transcript
 *   -x 9 or a close code: no faults, but for a day each Identify is answered with it; in the end
 *   every shard must be ready
 *
 * A seed that fails is run again, and the end of the transcript of its shard is shown. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simulator.h"

#define TAIL_BYTES 16000 /* of the transcript of a failed seed */
#define JOBS_MAX   64

struct plan {
    uint64_t first, seeds, single;
    double days;
    int shards, jobs, shown_shard, hostile;
    bool one;
};

/* ---- The transcript -------------------------------------------------------------------------- */

static bool is_shown(const struct sim_seat *seat) {
    const struct sim_world *world = seat->world;
    return world->out && (world->shown_shard < 0 || world->shown_shard == seat->id);
}

static void name_shard(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    int64_t s = world->clock.now_ms / 1000;
    if (world->shown_shard >= 0 || world->told_shard == seat->id) return;
    world->told_shard = seat->id;
    fprintf(world->out, "# shard %d, day %lld %02lld:%02lld:%02lld\n", seat->id,
            (long long)(s / 86400), (long long)(s / 3600 % 24), (long long)(s / 60 % 60),
            (long long)(s % 60));
}

void sim_tell_input(struct sim_seat *seat, const char *format, ...) {
    if (!is_shown(seat)) return;
    va_list list;
    int64_t now_ms = sim_now(seat->world);
    name_shard(seat);
    fprintf(seat->world->out, "+%-4lld ", (long long)(now_ms - seat->told_at_ms));
    seat->told_at_ms = now_ms;
    va_start(list, format);
    vfprintf(seat->world->out, format, list);
    va_end(list);
    fputc('\n', seat->world->out);
}

void sim_tell_note(struct sim_seat *seat, const char *format, ...) {
    if (!is_shown(seat)) return;
    va_list list;
    name_shard(seat);
    fprintf(seat->world->out, "# %lld ms: ", (long long)seat->world->clock.now_ms);
    va_start(list, format);
    vfprintf(seat->world->out, format, list);
    va_end(list);
    fputc('\n', seat->world->out);
}

/* Own events that merely go with an action are left out, as in spec/transcripts. */
static bool is_quiet(const struct gate_event *event) {
    static const char *const names[] = {"connect", "open", "state",  "disconnect",
                                        "close",   "send", "receive"};
    struct gate_span name = gate_event_name(event);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (event->own && strlen(names[i]) == name.len && !memcmp(names[i], name.data, name.len))
            return true;
    return false;
}

static void tell_event(FILE *out, const struct gate_event *event) {
    struct gate_span name = gate_event_name(event), data = gate_event_data(event);
    if (is_quiet(event)) return;
    fprintf(out, "        > event %.*s %.*s\n", (int)name.len, name.data,
            (int)(data.len < 200 ? data.len : 200), data.data);
}

void sim_tell_action(struct sim_seat *seat, const struct gate_action *action) {
    FILE *out = seat->world->out;
    if (!is_shown(seat)) return;
    switch (action->type) {
    case GATE_ACT_CONNECT:
        fprintf(out, "        > connect %.*s\n", (int)action->url.len, action->url.data);
        break;
    case GATE_ACT_SEND:
        fprintf(out, "        > send %.*s\n", (int)action->bytes.len, action->bytes.data);
        break;
    case GATE_ACT_CLOSE: fprintf(out, "        > close %d\n", action->code); break;
    case GATE_ACT_ABORT: fputs("        > abort\n", out); break;
    case GATE_ACT_EVENT: tell_event(out, &action->event); break;
    case GATE_ACT_SLOT_ASK: fputs("        > slot ask\n", out); break;
    case GATE_ACT_SLOT_SPENT: fputs("        > slot spent\n", out); break;
    case GATE_ACT_SLOT_DONE: fputs("        > slot done\n", out); break;
    }
}

/* ---- One seed -------------------------------------------------------------------------------- */

void sim_fail(struct sim_seat *seat, const char *format, ...) {
    struct sim_world *world = seat->world;
    int64_t ms = world->clock.now_ms;
    va_list list;
    int len = snprintf(world->words, sizeof world->words,
                       "seed %llu, day %lld %02lld:%02lld:%02lld.%03lld, shard %d (%s): ",
                       (unsigned long long)world->seed, (long long)(ms / SIM_DAY_MS),
                       (long long)(ms / 3600000 % 24), (long long)(ms / 60000 % 60),
                       (long long)(ms / 1000 % 60), (long long)(ms % 1000), seat->id,
                       gate_state_word(gate_shard_state(seat->shard)));
    va_start(list, format);
    vsnprintf(world->words + len, sizeof world->words - (size_t)len, format, list);
    va_end(list);
    world->failed_shard = seat->id;
    longjmp(world->failed, 1);
}

static void draw_world(struct sim_world *world) {
    static const int64_t intervals[] = {41250, 41250, 45000, 30000, 60000, 120000};
    struct sim_clock *clock = &world->clock;
    world->day.total = world->seed % 8 == 6 ? 16 * (int64_t)world->shard_count : SIM_TOTAL;
    if (world->day.total > SIM_TOTAL) world->day.total = SIM_TOTAL;
    world->interval_ms = intervals[sim_random(clock) % 6];
    world->slack_ms = sim_chance(clock, 0.5) ? GATE_BEAT_SLACK_MS : 0;
    world->compress = (enum gate_compress)(world->seed % 8 > 4 ? world->seed % 8 - 4 : 0);
    world->trace = world->seed % 16 == 3;
    world->hears_all = !sim_chance(clock, 0.25);
    world->fatal = world->seed % 4 == 1;
    world->presences = world->seed % 2 == 0;
    world->leaves = world->seed % 2 == 1;
    world->handshakes_max = (int)sim_between(clock, 1, 4);
    world->gateway.concurrency = (int)sim_between(clock, 1, 4);
    world->resized_at_ms = world->frozen_until_ms = -SIM_DAY_MS;
}

static void live(struct sim_world *world) {
    draw_world(world);
    sim_bot_init(world);
    if (world->hostile)
        sim_weather_none(world);
    else
        sim_weather_init(world);
    while (sim_turn(&world->clock, world->end_ms)) {
    }
    if (world->hostile) sim_judge_peace(world, false);
}

/* False: it failed, and world->words says how. Memory of a failed world is not given back. */
static bool run_seed(const struct plan *plan, uint64_t seed, FILE *out, int shown_shard,
                     struct sim_totals *totals, struct sim_world *world) {
    size_t before = sim_judge_live_bytes();
    *world = (struct sim_world){.seed = seed,
                                .shard_count = plan->shards,
                                .end_ms = (int64_t)(plan->days * SIM_DAY_MS),
                                .hostile = plan->hostile,
                                .totals = totals,
                                .out = out,
                                .shown_shard = shown_shard,
                                .told_shard = -1};
    sim_clock_init(&world->clock, seed);
    if (setjmp(world->failed)) return false;
    live(world);
    sim_bot_free(world);
    sim_clock_free(&world->clock);
    totals->seeds++;
    if (sim_judge_live_bytes() == before) return true;
    snprintf(world->words, sizeof world->words, "seed %llu: %zu bytes are left behind",
             (unsigned long long)seed, sim_judge_live_bytes() - before);
    world->failed_shard = 0;
    return false;
}

/* Shows how it came to that, as far as the end of the transcript tells. */
static void show_failure(const struct plan *plan, struct sim_world *world) {
    struct sim_totals unused = {0};
    char *text = NULL, words[sizeof world->words];
    size_t len = 0;
    uint64_t seed = world->seed;
    memcpy(words, world->words, sizeof words);
    FILE *out = open_memstream(&text, &len);
    if (!out) abort();
    bool passed = run_seed(plan, seed, out, world->failed_shard, &unused, world);
    fclose(out);
    const char *tail = len > TAIL_BYTES ? strchr(text + len - TAIL_BYTES, '\n') : text;
    fprintf(stderr, "%s%s\n%s%s\nagain: make simulate SEED=%llu DAYS=%g SHARDS=%d WATCH=%d\n",
            tail && tail != text ? "# ... the end of the transcript:" : "", tail ? tail : "", words,
            passed ? " (not the second time)" : "", (unsigned long long)seed, plan->days,
            plan->shards, world->failed_shard);
}

/* ---- Many seeds ------------------------------------------------------------------------------ */

struct shared { /* by all jobs; each writes its own row */
    volatile bool stop;
    struct sim_totals totals[JOBS_MAX];
};

static int work(const struct plan *plan, struct shared *shared, int job) {
    struct sim_world *world = malloc(sizeof *world);
    if (!world) abort();
    sim_judge_allocations();
    for (uint64_t n = (uint64_t)job; n < plan->seeds && !shared->stop; n += (uint64_t)plan->jobs) {
        if (run_seed(plan, plan->first + n, NULL, -1, &shared->totals[job], world)) continue;
        shared->stop = true;
        show_failure(plan, world);
        return 1;
    }
    free(world);
    return 0;
}

static void add_totals(struct sim_totals *to, const struct sim_totals *more) {
    to->seeds += more->seeds;
    to->events += more->events;
    to->skipped += more->skipped;
    to->identifies += more->identifies;
    to->resumes += more->resumes;
    to->resumed += more->resumed;
    to->beats += more->beats;
    to->commands += more->commands;
    to->connects += more->connects;
    to->shard_ms += more->shard_ms;
    if (more->bytes_max > to->bytes_max) to->bytes_max = more->bytes_max;
    if (more->identifies_day_max > to->identifies_day_max)
        to->identifies_day_max = more->identifies_day_max;
    to->holds += more->holds;
    to->held_wakes += more->held_wakes;
    to->held_ms += more->held_ms;
    if (more->ready_ms > to->ready_ms) to->ready_ms = more->ready_ms;
    for (int i = 0; i < SIM_FAULT_COUNT; i++) to->faults[i] += more->faults[i];
}

static void print_totals(const struct plan *plan, const struct sim_totals *totals) {
    static const char *const words[] = {
#define X(name, word, weight) word,
        SIM_FAULTS(X)
#undef X
    };
    uint64_t faults = 0;
    for (int i = 0; i < SIM_FAULT_COUNT; i++) faults += totals->faults[i];
    printf("seeds        %llu of %llu, %d shards, %g days each\n",
           (unsigned long long)totals->seeds, (unsigned long long)plan->seeds, plan->shards,
           plan->days);
    printf("virtual time %.0f hours, %.0f of shards\n", (double)totals->seeds * plan->days * 24,
           (double)totals->shard_ms / 3600000);
    printf("events       %llu delivered, %llu unheard\n", (unsigned long long)totals->events,
           (unsigned long long)totals->skipped);
    printf("sent         %llu beats, %llu commands, %llu identifies, %llu resumes\n",
           (unsigned long long)totals->beats, (unsigned long long)totals->commands,
           (unsigned long long)totals->identifies, (unsigned long long)totals->resumes);
    printf("connections  %llu, %llu of them resumed\n", (unsigned long long)totals->connects,
           (unsigned long long)totals->resumed);
    printf("a day        %llu identifies of a token at most\n",
           (unsigned long long)totals->identifies_day_max);
    printf("holds        %llu, %.2f hours, %llu wakes in them\n", (unsigned long long)totals->holds,
           (double)totals->held_ms / 3600000, (unsigned long long)totals->held_wakes);
    printf("ready        after %.2f hours at most\n", (double)totals->ready_ms / 3600000);
    printf("memory       %zu bytes a shard at most\n", totals->bytes_max);
    printf("faults       %llu\n", (unsigned long long)faults);
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf("  %-31s %llu\n", words[i], (unsigned long long)totals->faults[i]);
}

static int run_many(const struct plan *plan) {
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[JOBS_MAX];
    struct sim_totals totals = {0};
    int failed = 0;
    if (shared == MAP_FAILED) abort();
    for (int job = 0; job < plan->jobs; job++) {
        pids[job] = fork();
        if (pids[job] < 0) abort();
        if (pids[job] == 0) _exit(work(plan, shared, job));
    }
    for (int job = 0; job < plan->jobs; job++) {
        int status = 1;
        if (waitpid(pids[job], &status, 0) < 0 || status != 0) failed = 1;
        add_totals(&totals, &shared->totals[job]);
    }
    print_totals(plan, &totals);
    munmap(shared, sizeof *shared);
    return failed;
}

static int run_one(const struct plan *plan) {
    struct sim_totals totals = {0};
    struct sim_world *world = malloc(sizeof *world);
    if (!world) abort();
    sim_judge_allocations();
    bool passed = run_seed(plan, plan->single, stdout, plan->shown_shard, &totals, world);
    if (passed)
        print_totals(plan, &totals);
    else
        printf("%s\n", world->words);
    free(world);
    return !passed;
}

int main(int argc, char **argv) {
    struct plan plan = {.first = 1, .seeds = 100, .days = 1, .shards = 4, .shown_shard = -1};
    plan.jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int option; (option = getopt(argc, argv, "s:f:d:n:j:1:w:x:")) != -1;) {
        switch (option) {
        case 's': plan.seeds = strtoull(optarg, NULL, 10); break;
        case 'f': plan.first = strtoull(optarg, NULL, 10); break;
        case 'd': plan.days = strtod(optarg, NULL); break;
        case 'n': plan.shards = (int)strtol(optarg, NULL, 10); break;
        case 'j': plan.jobs = (int)strtol(optarg, NULL, 10); break;
        case '1':
            plan.single = strtoull(optarg, NULL, 10);
            plan.one = true;
            break;
        case 'x': plan.hostile = (int)strtol(optarg, NULL, 10); break;
        case 'w': plan.shown_shard = (int)strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (plan.jobs < 1) plan.jobs = 1;
    if (plan.jobs > JOBS_MAX) plan.jobs = JOBS_MAX;
    if (plan.shards < 1 || plan.shards > SIM_SHARDS_MAX || plan.days * 24 < 1) {
        fprintf(stderr, "1 to %d shards, an hour at least\n", SIM_SHARDS_MAX);
        return 2;
    }
    return plan.one ? run_one(&plan) : run_many(&plan);
}
