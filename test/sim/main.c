/* test/sim/main.c - the simulator's command line.
 *
 *     sim [--seed N] [--seeds A..B] [--nodes N] [--seconds S]
 *         [--scenario NAME] [--canary NAME] [--keep MASK]
 *         [--trace] [--plan] [--twice] [--shrink] [--quality[=TABLE]] [--list]
 *         [--canaries]
 *
 * One line per run, and a total. Ends with 0, or with what was violated:
 * 127 crash, 128 liveness, 129 correctness.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/sim/frames.h"
#include "test/sim/quality.h"
#include "test/sim/sim.h"

/* A seeded bug must be found within so many node-seconds. */
#define CANARY_NODE_S 1000000

struct options {
    uint64_t seed_first, seed_last;
    unsigned nodes, canary;
    uint64_t seconds;
    const char *scenario;
    const char *quality;
    uint32_t keep; /* which faults, as bits */
    bool prints, shows_plan, twice, shrinks, is_canary_hunt;
};

struct total {
    uint64_t runs, failed, node_ns, events;
};

/* For the handler of a failed assertion: it must say which run it was. */
static struct sim *running;

static void on_crash(int sig)
{
    struct sim *s = running;
    if (s) {
        running = NULL;
        printf("FAILED seed %" PRIu64 " scenario %s at %.6f s: crash "
               "(signal %d)\n",
               s->plan.seed, s->plan.scenario, (double)s->now_ns / 1e9, sig);
        sim_print_trace(s);
        plan_print(&s->plan);
        fflush(stdout);
    }
    _exit(SIM_CRASH);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void keep_faults(struct plan *p, uint32_t keep)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_faults; i++) {
        if (keep & 1u << i)
            p->faults[n++] = p->faults[i];
    }
    p->n_faults = n;
    if (!(keep & 1u << 31))
        p->hostile = 0;
    if (!(keep & 1u << 30))
        p->loss_ppm = p->duplicate_ppm = p->reorder_ppm = p->corrupt_ppm =
            p->replay_ppm = 0;
    if (!(keep & 1u << 29)) {
        p->drift_ppm_max = 0;
        p->skew_s_max = p->service_ns = p->jitter_ns = 0;
    }
}

static bool draw(struct plan *p, const struct options *o, uint64_t seed)
{
    if (o->is_canary_hunt)
        plan_canary(p, o->canary, seed, o->nodes);
    else if (!plan_scenario(p, o->scenario, seed, o->nodes))
        return false;
    p->canary = o->canary;
    if (o->seconds) {
        /* What would begin after the end does not begin. */
        p->safety_ns = o->seconds * SIM_S;
        for (size_t i = p->n_faults; i-- > 0;) {
            struct fault *f = &p->faults[i];
            if (f->at_ns + 4 * SIM_S > p->safety_ns)
                *f = p->faults[--p->n_faults];
            else if (f->until_ns >= p->safety_ns)
                f->until_ns = p->safety_ns - SIM_MS;
        }
    }
    keep_faults(p, o->keep);
    return true;
}

/* What each node made of it: for the reader of a failure. */
static void print_nodes(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.n && i < 24; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->mesh)
            continue;
        const struct members *ms = mesh_members(n->mesh);
        const struct members_counters *c = members_counters(ms);
        struct mesh_stats t;
        mesh_stats(n->mesh, &t);
        printf("n-%u @%u: %zu members, health %u; refused: policy %" PRIu64
               " full %" PRIu64 " rate %" PRIu64 " jump %" PRIu64
               " fit %" PRIu64 "; conflicts %" PRIu64 ", %s%s\n",
               i, t.incarnation, members_count(ms), t.health, c->refused_policy,
               c->refused_full, c->refused_rate, c->refused_jump,
               c->refused_fit, c->conflicts, n->is_core ? "core" : "outside",
               t.is_alone ? ", alone" : "");
    }
}

static void report(const struct sim *s)
{
    const char *verdicts[] = {"crash", "liveness", "correctness"};
    if (s->verdict == SIM_OK) {
        printf("seed %-8" PRIu64 " n %-4u %6.1f s  heal %6.1f s  refute "
               "%5.1f s  events %9" PRIu64 "  hash %016" PRIx64 "\n",
               s->plan.seed, s->plan.n, (double)s->now_ns / 1e9,
               (double)s->heal_ns / 1e9, (double)s->refute_ns / 1e9,
               s->n_events, s->hash);
        return;
    }
    sim_print_trace(s);
    print_nodes(s);
    plan_print(&s->plan);
    printf("FAILED seed %" PRIu64 " scenario %s n %u at %.6f s: %s: %s\n",
           s->plan.seed, s->plan.scenario, s->plan.n,
           (double)s->failed_ns / 1e9, verdicts[s->verdict - SIM_CRASH],
           s->what);
}

static int run_one(const struct options *o, uint64_t seed, struct total *t,
                   uint64_t *hash, bool is_silent)
{
    struct plan p;
    if (!draw(&p, o, seed)) {
        fprintf(stderr, "sim: no scenario \"%s\"; see --list\n", o->scenario);
        return 2;
    }
    if (o->shows_plan)
        plan_print(&p);
    struct sim *s = sim_alloc(1, sizeof(*s));
    running = s;
    sim_open(s, &p, o->prints);
    sim_run(s);
    running = NULL;
    if (!is_silent)
        report(s);
    if (!is_silent)
        sim_frames_report(s);
    int verdict = (int)s->verdict;
    if (hash)
        *hash = s->hash;
    sim_close(s);
    t->runs++;
    t->failed += verdict != 0;
    t->node_ns += s->node_ns;
    t->events += s->n_events;
    free(s);
    return verdict;
}

/* ---- shrinking: the same failure with less ---- */

static int try_child(const struct options *o, uint64_t seed)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct total t = {0};
        if (!freopen("/dev/null", "w", stdout) ||
            !freopen("/dev/null", "w", stderr))
            _exit(0);
        _exit(run_one(o, seed, &t, NULL, true));
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : SIM_CRASH;
}

static void shrink(struct options o, uint64_t seed, int verdict)
{
    struct plan p;
    draw(&p, &o, seed);
    o.prints = false;
    o.nodes = p.n;
    o.seconds = p.safety_ns / SIM_S;
    if (try_child(&o, seed) != verdict) {
        printf("shrink: does not fail again as it is\n");
        return;
    }
    bool smaller = true;
    while (smaller) {
        smaller = false;
        for (unsigned bit = 0; bit < 32; bit++) {
            struct options less = o;
            less.keep &= ~(1u << bit);
            if (less.keep != o.keep && (bit < p.n_faults || bit > 28) &&
                try_child(&less, seed) == verdict) {
                o = less;
                smaller = true;
            }
        }
        struct options less = o;
        less.nodes = o.nodes > 12 ? o.nodes / 2 : o.nodes - 1;
        if (o.nodes > 2 && try_child(&less, seed) == verdict) {
            o = less;
            smaller = true;
        }
        less = o;
        less.seconds = o.seconds * 3 / 4;
        if (o.seconds > 12 && try_child(&less, seed) == verdict) {
            o = less;
            smaller = true;
        }
    }
    printf("shrunk: sim --seed %" PRIu64 " --scenario %s --nodes %u --seconds "
           "%" PRIu64 " --keep 0x%x%s%s\n",
           seed, o.scenario, o.nodes, o.seconds, o.keep,
           o.canary ? " --canary " : "", o.canary ? canary_name(o.canary) : "");
}

/* ---- the command line ---- */

static bool parse_seeds(const char *text, struct options *o)
{
    char *end;
    o->seed_first = o->seed_last = strtoull(text, &end, 0);
    if (!strncmp(end, "..", 2))
        o->seed_last = strtoull(end + 2, &end, 0);
    return *end == '\0' && o->seed_last >= o->seed_first;
}

static const struct option longs[] = {
    {"seed", required_argument, NULL, 's'},
    {"seeds", required_argument, NULL, 's'},
    {"nodes", required_argument, NULL, 'n'},
    {"seconds", required_argument, NULL, 'S'},
    {"scenario", required_argument, NULL, 'c'},
    {"canary", required_argument, NULL, 'C'},
    {"keep", required_argument, NULL, 'k'},
    {"trace", no_argument, NULL, 't'},
    {"plan", no_argument, NULL, 'p'},
    {"twice", no_argument, NULL, '2'},
    {"shrink", no_argument, NULL, 'x'},
    {"quality", optional_argument, NULL, 'q'},
    {"list", no_argument, NULL, 'l'},
    {"canaries", no_argument, NULL, 'L'},
    {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fputs("usage: sim [--seed N] [--seeds A..B] [--nodes N] [--seconds S]\n"
          "           [--scenario NAME] [--canary NAME] [--keep MASK]\n"
          "           [--trace] [--plan] [--twice] [--shrink]\n"
          "           [--quality[=TABLE]] [--list] [--canaries]\n",
          stderr);
}

static bool parse(int argc, char **argv, struct options *o)
{
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 's') {
            if (!parse_seeds(optarg, o))
                return false;
        } else if (c == 'n')
            o->nodes = (unsigned)strtoul(optarg, NULL, 0);
        else if (c == 'S')
            o->seconds = strtoull(optarg, NULL, 0);
        else if (c == 'c')
            o->scenario = optarg;
        else if (c == 'k')
            o->keep = (uint32_t)strtoul(optarg, NULL, 0);
        else if (c == 't')
            o->prints = true;
        else if (c == 'p')
            o->shows_plan = true;
        else if (c == '2')
            o->twice = true;
        else if (c == 'x')
            o->shrinks = true;
        else if (c == 'q')
            o->quality = optarg ? optarg : "all";
        else if (c == 'L') {
            for (unsigned i = 1; i < CANARY_N; i++)
                puts(canary_name(i));
            exit(0);
        } else if (c == 'l') {
            plan_list();
            exit(0);
        } else if (c == 'C') {
            o->canary = canary_parse(optarg);
            if (o->canary == CANARY_N)
                return false;
        } else
            return false;
    }
    o->is_canary_hunt = o->canary && !strcmp(o->scenario, "aimed");
    return optind == argc && (o->nodes <= 4096);
}

static int run_all(const struct options *o, struct total *t)
{
    int worst = 0;
    for (uint64_t seed = o->seed_first; seed <= o->seed_last; seed++) {
        uint64_t hash = 0, again = 0;
        int verdict = run_one(o, seed, t, &hash, false);
        if (verdict == 2)
            return 2;
        if (o->twice && run_one(o, seed, t, &again, true) == verdict &&
            hash != again) {
            printf("FAILED seed %" PRIu64 ": I19: two runs, two hashes\n",
                   seed);
            verdict = SIM_CORRECTNESS;
        }
        if (verdict && o->shrinks)
            shrink(*o, seed, verdict);
        if (verdict > worst)
            worst = verdict;
        fflush(stdout);
        if (o->canary && (verdict || t->node_ns / SIM_S > CANARY_NODE_S))
            break;
    }
    return worst;
}

int main(int argc, char **argv)
{
    struct options o = {.seed_first = 1,
                        .seed_last = 1,
                        .scenario = "swarm",
                        .keep = UINT32_MAX};
    if (!parse(argc, argv, &o)) {
        usage();
        return 2;
    }
    signal(SIGABRT, on_crash);
    if (o.quality) {
        if (!quality_run(o.quality, o.seed_first)) {
            fprintf(stderr, "sim: no table \"%s\"\n", o.quality);
            return 2;
        }
        return 0;
    }
    struct total t = {0};
    double begin_s = cpu_s();
    int worst = run_all(&o, &t);
    double used_s = cpu_s() - begin_s;
    double node_s = (double)t.node_ns / 1e9;
    printf("total: %" PRIu64 " runs, %" PRIu64 " failed, %.0f node-seconds, "
           "%.2f CPU-seconds, %.0f node-seconds per CPU-second\n",
           t.runs, t.failed, node_s, used_s, used_s > 0 ? node_s / used_s : 0);
    return worst;
}
