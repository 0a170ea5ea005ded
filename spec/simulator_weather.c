/* simulator_weather.c - what goes wrong, when, and for how long. A few hours of one climate, in
 * which some faults are frequent and some absent, then a spell of peace in which all must heal. */
#include "simulator.h"

#define STORM_MS 18000000 /* of one climate */
#define QUIET_MS 120000   /* then no new events, so that what is on its way arrives */

bool sim_strikes(struct sim_world *world, double p, enum sim_fault fault) {
    if (world->weather.peace || !sim_chance(&world->clock, p)) return false;
    world->totals->faults[fault]++;
    return true;
}

/* ---- Faults of one shard --------------------------------------------------------------------- */

static int64_t minutes(struct sim_world *world, int64_t most) {
    return 1000 + sim_wait(&world->clock, sim_between(&world->clock, 1, most) * 60000);
}

static int any_code(struct sim_clock *clock) {
    static const int codes[] = {1000, 1001, 1005, 1006, 1011, 1012, 4000, 4001, 4002,
                                4003, 4005, 4006, 4007, 4008, 4009, 4020, 4999, 3000};
    return codes[sim_random(clock) % (sizeof codes / sizeof codes[0])];
}

static int any_fatal_code(struct sim_clock *clock) {
    static const int codes[] = {4004, 4010, 4011, 4012, 4013, 4014};
    return codes[sim_random(clock) % (sizeof codes / sizeof codes[0])];
}

static void say_empties(struct sim_link *link) {
    int64_t count = sim_between(&link->world->clock, 1, 6);
    for (int64_t i = 0; i < count; i++) sim_link_say(link, SIM_SAID_PLAIN, GATE_SPAN(""));
}

static void repeat(struct sim_session *session) {
    if (!session || !session->live) return;
    for (int64_t seq = session->seq > 3 ? session->seq - 2 : session->seq; seq <= session->seq;
         seq++)
        sim_gateway_say(session, seq);
}

static void say_fatal(struct sim_link *link) {
    struct sim_world *world = link->world;
    sim_arm(&world->clock, &link->seat->again, world->clock.now_ms + minutes(world, 5), SIM_WORLD);
    if (link->session) sim_gateway_end(link->session);
    sim_gateway_close(link, any_fatal_code(&world->clock));
}

/* What the gateway or the network does to a connection that is open at both ends. */
static void strike_link(struct sim_link *link, enum sim_fault fault) {
    struct sim_world *world = link->world;
    switch (fault) {
    case SIM_FAULT_CUT: sim_link_cut(link); break;
    case SIM_FAULT_SILENCE_DOWN: link->down.silent = true; break;
    case SIM_FAULT_SILENCE_UP: link->up.silent = true; break;
    case SIM_FAULT_SILENCE: link->down.silent = link->up.silent = true; break;
    case SIM_FAULT_STALL: sim_link_stall(link, sim_wait(&world->clock, 30000)); break;
    case SIM_FAULT_CLOSE: sim_gateway_close(link, any_code(&world->clock)); break;
    case SIM_FAULT_RECONNECT:
        sim_link_say(link, SIM_SAID_PLAIN,
                     GATE_SPAN("{\"t\":null,\"s\":null,\"op\":7,\"d\":null}"));
        break;
    case SIM_FAULT_INVALID_TRUE:
        sim_link_say(link, SIM_SAID_PLAIN, GATE_SPAN("{\"op\":9,\"d\":true}"));
        break;
    case SIM_FAULT_INVALID_FALSE:
        if (link->session) sim_gateway_end(link->session);
        sim_link_say(link, SIM_SAID_INVALID, GATE_SPAN("{\"op\":9,\"d\":false}"));
        break;
    case SIM_FAULT_ASK: sim_link_say(link, SIM_SAID_ASK, GATE_SPAN("{\"op\":1,\"d\":null}")); break;
    case SIM_FAULT_ASK_AND_CLOSE:
        sim_link_say(link, SIM_SAID_ASK, GATE_SPAN("{\"t\":null,\"s\":null,\"op\":1,\"d\":null}"));
        sim_gateway_close(link, any_code(&world->clock));
        break;
    case SIM_FAULT_MUTE: link->mute = true; break;
    case SIM_FAULT_EMPTY: say_empties(link); break;
    case SIM_FAULT_CORRUPT:
        sim_link_say(link, SIM_SAID_CORRUPT,
                     GATE_SPAN("{\"op\":0,\"t\":\"MESSAGE_CREATE\",\"d\":{"));
        break;
    case SIM_FAULT_UNKNOWN:
        sim_link_say(link, SIM_SAID_PLAIN,
                     GATE_SPAN("{\"op\":24,\"d\":[1,{\"op\":7}],\"s\":null}"));
        break;
    case SIM_FAULT_REPEAT: repeat(link->session); break;
    case SIM_FAULT_FATAL:
        if (world->fatal) say_fatal(link);
        break;
    default: break;
    }
}

static void strike_session(struct sim_session *session, enum sim_fault fault) {
    struct sim_world *world = session->world;
    switch (fault) {
    case SIM_FAULT_POISON: session->poison = session->seq + 1; break;
    case SIM_FAULT_BURST: sim_gateway_burst(session, sim_between(&world->clock, 5, 400)); break;
    case SIM_FAULT_FORGET: sim_gateway_end(session); break;
    case SIM_FAULT_BRICK:
        session->bricked = true;
        if (session->link) sim_link_cut(session->link);
        break;
    default: break;
    }
}

/* ---- Faults of the world --------------------------------------------------------------------- */

static void let_down(struct sim_world *world, int host) {
    world->gateway.host_down_until_ms[host] = world->clock.now_ms + minutes(world, 15);
    world->gateway.host_down_how[host] = (int)(sim_random(&world->clock) % 64);
    for (struct sim_link *link = world->links; link; link = link->next)
        if (link->open && !link->server_gone && (link->host < 0 ? SIM_HOSTS : link->host) == host)
            sim_link_cut(link);
}

static void freeze(struct sim_world *world, int64_t ms, bool asleep) {
    if (world->frozen_until_ms > world->clock.now_ms) return;
    world->frozen_until_ms = world->clock.now_ms + ms;
    world->asleep_ms = asleep ? ms : 0;
    for (int i = 0; i < world->shard_count; i++) world->seats[i].docket.may_beat_late |= !asleep;
    sim_arm(&world->clock, &world->thaw, world->frozen_until_ms, SIM_FIRST);
}

/* The clock of a machine that slept has not moved; every deadline is as far away as it was. */
static void thaw(void *owner) {
    struct sim_world *world = owner;
    world->slept_ms += world->asleep_ms;
    if (world->asleep_ms) sim_bot_slept(world, world->asleep_ms);
}

static void release(void *owner) {
    struct sim_world *world = owner;
    if (!sim_frozen(world, &world->release, SIM_WORLD)) sim_bot_hold(world, false);
}

static void strike_world(struct sim_world *world, enum sim_fault fault) {
    struct sim_gateway *gateway = &world->gateway;
    struct sim_clock *clock = &world->clock;
    switch (fault) {
    case SIM_FAULT_HOST_DOWN: let_down(world, (int)sim_between(clock, 0, SIM_HOSTS - 1)); break;
    case SIM_FAULT_MAIN_DOWN: let_down(world, SIM_HOSTS); break;
    case SIM_FAULT_OUTAGE: gateway->outage_until_ms = clock->now_ms + minutes(world, 90); break;
    case SIM_FAULT_REFUSAL: gateway->refusal_until_ms = clock->now_ms + minutes(world, 10); break;
    case SIM_FAULT_HOLD:
        sim_bot_hold(world, true);
        sim_arm(clock, &world->release, clock->now_ms + minutes(world, 8), SIM_WORLD);
        break;
    case SIM_FAULT_FREEZE: freeze(world, sim_wait(clock, 40000), false); break;
    case SIM_FAULT_SLEEP:
        freeze(world, sim_wait(clock, sim_chance(clock, 0.3) ? 4000 : 900000), true);
        break;
    case SIM_FAULT_CONCURRENCY:
        gateway->concurrency = (int)sim_between(clock, 1, 4);
        sim_bot_resize(world, gateway->concurrency);
        break;
    default: break;
    }
}

/* ---- Users ----------------------------------------------------------------------------------- */

static int any_user_code(struct sim_clock *clock) {
    static const int codes[] = {4000, 4000, 4000, 3000, 1000, 1001};
    return codes[sim_random(clock) % (sizeof codes / sizeof codes[0])];
}

static void strike_user(struct sim_seat *seat, enum sim_fault fault) {
    struct sim_world *world = seat->world;
    switch (fault) {
    case SIM_FAULT_USER_RECONNECT: sim_bot_reconnect(seat, any_user_code(&world->clock)); break;
    case SIM_FAULT_USER_STOP:
        sim_bot_stop(seat, any_user_code(&world->clock));
        sim_arm(&world->clock, &seat->again, world->clock.now_ms + minutes(world, 3), SIM_WORLD);
        break;
    case SIM_FAULT_USER_RESTART: /* stops now, and takes over where it finds that done */
        if (seat->docket.state == GATE_STATE_IDLE)
            sim_bot_restart(seat);
        else
            strike_user(seat, SIM_FAULT_USER_STOP);
        break;
    case SIM_FAULT_USER_STORM: sim_bot_storm(seat); break;
    default:
        for (int64_t i = sim_between(&world->clock, 20, 300); i > 0; i--) sim_bot_command(seat);
        break;
    }
}

/* ---- When ------------------------------------------------------------------------------------ */

static const int weights[] = {
#define X(name, word, weight) weight,
    SIM_FAULTS(X)
#undef X
};

static enum sim_fault choose(struct sim_world *world) {
    const struct sim_climate *climate = &world->weather.climate;
    int64_t at = sim_between(&world->clock, 0, climate->weight_sum - 1);
    int fault = 0;
    while (at >= climate->weights[fault]) at -= climate->weights[fault++];
    return (enum sim_fault)fault;
}

static void strike(struct sim_seat *seat, enum sim_fault fault) {
    struct sim_world *world = seat->world;
    struct sim_link *link = seat->link;
    bool up = link && link->open && !link->server_gone;
    if (fault >= SIM_FAULT_USER_RECONNECT && fault <= SIM_FAULT_USER_FLOOD)
        strike_user(seat, fault);
    else if (fault >= SIM_FAULT_HOST_DOWN && fault <= SIM_FAULT_CONCURRENCY)
        strike_world(world, fault);
    else if (fault >= SIM_FAULT_POISON && fault <= SIM_FAULT_BRICK && fault != SIM_FAULT_REPEAT &&
             fault != SIM_FAULT_UNKNOWN) {
        if (up && link->session && link->session->live) strike_session(link->session, fault);
    } else if (up) {
        strike_link(link, fault);
    }
}

static void arm_fault(struct sim_world *world) {
    int64_t mean_ms = world->weather.climate.fault_every_ms / world->shard_count + 1;
    sim_arm(&world->clock, &world->weather.fault,
            world->clock.now_ms + sim_wait(&world->clock, mean_ms), SIM_WORLD);
}

static void next_fault(void *owner) {
    struct sim_world *world = owner;
    if (world->weather.peace) return;
    if (sim_frozen(world, &world->weather.fault, SIM_WORLD)) return;
    enum sim_fault fault = choose(world);
    struct sim_seat *seat = &world->seats[sim_between(&world->clock, 0, world->shard_count - 1)];
    world->totals->faults[fault]++;
    sim_tell_note(seat, "fault: %s",
                  (const char *[]){
#define X(name, word, weight) word,
                      SIM_FAULTS(X)
#undef X
                  }[fault]);
    strike(seat, fault);
    arm_fault(world);
}

static void next_command(void *owner) {
    struct sim_world *world = owner;
    if (sim_frozen(world, &world->weather.command, SIM_WORLD)) return;
    int64_t mean_ms = world->weather.climate.command_every_ms / world->shard_count + 1;
    sim_bot_command(&world->seats[sim_between(&world->clock, 0, world->shard_count - 1)]);
    sim_arm(&world->clock, &world->weather.command,
            world->clock.now_ms + sim_wait(&world->clock, mean_ms), SIM_WORLD);
}

/* ---- Climates -------------------------------------------------------------------------------- */

static double rate(struct sim_clock *clock, double most) {
    double unit = sim_unit(clock);
    return sim_chance(clock, 0.4) ? 0 : most * unit * unit;
}

static void draw_climate(struct sim_world *world) {
    struct sim_clock *clock = &world->clock;
    struct sim_climate *climate = &world->weather.climate;
    *climate = (struct sim_climate){
        .connect_fails = rate(clock, 0.6),
        .hello_fails = rate(clock, 0.5),
        .replay_fails = rate(clock, 0.4),
        .close_ignored = rate(clock, 0.8),
        .split = rate(clock, 0.5),
        .ghost = rate(clock, 0.8),
        .latency_ms = sim_between(clock, 2, 200),
        .jitter_ms = sim_chance(clock, 0.2) ? 3000 : sim_between(clock, 1, 200),
        .fault_every_ms = sim_between(clock, 1, 8) * sim_between(clock, 1, 8) * 120000,
        .traffic_every_ms = 60000,
        .command_every_ms = sim_between(clock, 2, 20) * 60000,
        .session_life_ms = sim_between(clock, 60, 600) * 1000,
        .replay_max = sim_between(clock, 20, 800),
    };
    for (int fault = 0; fault < SIM_FAULT_COUNT; fault++) {
        climate->weights[fault] = weights[fault] * (int)sim_between(clock, 0, 3);
        climate->weight_sum += climate->weights[fault];
    }
    if (climate->weight_sum == 0) climate->weights[climate->weight_sum++] = 1;
}

static void begin_storm(void *owner);
static void be_quiet(void *owner);

/* Everything that is wrong with the world ends; what it did to connections stays. */
static void begin_peace(void *owner) {
    struct sim_world *world = owner;
    struct sim_gateway *gateway = &world->gateway;
    if (sim_frozen(world, &world->weather.turn, SIM_WORLD)) return;
    world->weather.peace = true;
    world->weather.climate.split = 0;
    gateway->outage_until_ms = gateway->refusal_until_ms = 0;
    /* A resume host may stay down: the main one still resumes. */
    for (int i = 0; i <= SIM_HOSTS; i++)
        gateway->host_down_until_ms[i] =
            i < SIM_HOSTS && sim_chance(&world->clock, 0.2)
                ? world->clock.now_ms + SIM_PEACE_MS(world->shard_count)
                : 0;
    sim_disarm(&world->clock, &world->release);
    sim_bot_hold(world, false);
    for (int i = 0; i < world->shard_count; i++) {
        sim_bot_start(&world->seats[i]);
        /* One that is on its way down is started when it is there. */
        sim_arm(&world->clock, &world->seats[i].again, world->clock.now_ms + 10000, SIM_WORLD);
    }
    world->weather.turn.fire = be_quiet;
    sim_arm(&world->clock, &world->weather.turn,
            world->clock.now_ms + SIM_PEACE_MS(world->shard_count) - QUIET_MS, SIM_WORLD);
}

static void be_quiet(void *owner) {
    struct sim_world *world = owner;
    sim_judge_peace(world, false);
    world->weather.quiet = true;
    for (int id = 0; id < world->shard_count; id++)
        for (int i = 0; i < SIM_SESSIONS; i++)
            sim_disarm(&world->clock, &world->gateway.sessions[id][i].timer);
    world->weather.turn.fire = begin_storm;
    sim_arm(&world->clock, &world->weather.turn, world->clock.now_ms + QUIET_MS, SIM_WORLD);
}

static void begin_storm(void *owner) {
    struct sim_world *world = owner;
    struct sim_clock *clock = &world->clock;
    if (world->weather.peace) sim_judge_peace(world, true);
    draw_climate(world);
    world->weather.peace = world->weather.quiet = false;
    for (int i = 0; i < world->shard_count; i++) {
        const struct sim_link *link = world->seats[i].link;
        if (link && link->session && link->session->live)
            sim_arm(clock, &link->session->timer, clock->now_ms + sim_wait(clock, 60000),
                    SIM_NETWORK);
    }
    arm_fault(world);
    int64_t peace_at_ms = clock->now_ms + STORM_MS, left_ms = world->end_ms - clock->now_ms;
    if (left_ms < STORM_MS + 2 * SIM_PEACE_MS(world->shard_count))
        peace_at_ms = world->end_ms - SIM_PEACE_MS(world->shard_count);
    world->weather.turn.fire = begin_peace;
    sim_arm(clock, &world->weather.turn, peace_at_ms, SIM_WORLD);
}

void sim_weather_init(struct sim_world *world) {
    world->weather.fault = (struct sim_timer){.fire = next_fault, .owner = world};
    world->weather.turn = (struct sim_timer){.fire = begin_storm, .owner = world};
    world->weather.command = (struct sim_timer){.fire = next_command, .owner = world};
    world->thaw = (struct sim_timer){.fire = thaw, .owner = world};
    world->release = (struct sim_timer){.fire = release, .owner = world};
    begin_storm(world);
    next_command(world);
}

void sim_weather_none(struct sim_world *world) {
    world->weather.climate = (struct sim_climate){.latency_ms = 20,
                                                  .jitter_ms = 20,
                                                  .traffic_every_ms = 600000,
                                                  .session_life_ms = 180000,
                                                  .replay_max = 500};
}
