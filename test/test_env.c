/* Parsers first, then whole made-up hosts below a temporary directory. */
#include "prober/env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC    1000000000ull
#define LEN(t) (t), sizeof(t) - 1

#define PSI                                                  \
    "some avg10=1.35 avg60=0.93 avg300=0.51 total=8368466\n" \
    "full avg10=7.00 avg60=0.00 avg300=0.00 total=0\n"

/* ---- parsing ----------------------------------------------------------- */

static void reads_pressure_in_hundredths(void **state)
{
    (void)state;
    check_i64(env_parse_psi(LEN(PSI)), 135);
    check_i64(env_parse_psi(LEN("some avg10=0.00 avg60=0")), 0);
    check_i64(env_parse_psi(LEN("some avg10=100.00 avg60=0")), 10000);
    check_i64(env_parse_psi(LEN("some avg10=9.05 avg60=0")), 905);
}

static void refuses_what_is_no_pressure(void **state)
{
    (void)state;
    check_i64(env_parse_psi(LEN("")), -1);
    check_i64(env_parse_psi(LEN("full avg10=1.00 x")), -1);
    check_i64(env_parse_psi(LEN("some avg10=1.3 avg60=0")), -1);
    check_i64(env_parse_psi(LEN("some avg10=1.350 avg60")), -1);
    check_i64(env_parse_psi(LEN("some avg10=.35 avg60=0")), -1);
    check_i64(env_parse_psi(LEN("some avg10=101.00 avg60")), -1);
    check_i64(env_parse_psi(LEN("some avg10=-1.00 avg60")), -1);
    check_i64(env_parse_psi(LEN("some avg10=1 avg60=0.00 ")), -1);
    /* Cut anywhere before the blank behind the number: unknown. */
    for (size_t len = 0; len < 15; len++)
        check_i64(env_parse_psi(PSI, len), -1);
    check_i64(env_parse_psi(PSI, 16), 135);
}

static void finds_a_key_only_at_the_start_of_a_line(void **state)
{
    (void)state;
    static const char text[] = "x_nr_throttled 1\nnr_throttled_x 2\n"
                               "nr_throttled 42\nnr_throttled 43\n";
    check_i64(env_parse_key(LEN(text), "nr_throttled"), 42);
    check_i64(env_parse_key(LEN(text), "nr"), -1);
    check_i64(env_parse_key(LEN("a 7"), "a"), 7);
    check_i64(env_parse_key(LEN("a "), "a"), -1);
    check_i64(env_parse_key(LEN("a"), "a"), -1);
    check_i64(env_parse_key(LEN("a -7\n"), "a"), -1);
    check_i64(env_parse_key(LEN("a 7x\n"), "a"), -1);
    check_i64(env_parse_key(LEN("a 9223372036854775807\n"), "a"), INT64_MAX);
    check_i64(env_parse_key(LEN("a 9223372036854775808\n"), "a"), -1);
}

static void reads_the_wait_of_schedstat(void **state)
{
    (void)state;
    check_i64(env_parse_schedstat(LEN("123 456 7\n")), 456);
    check_i64(env_parse_schedstat(LEN("0 0 0\n")), 0);
    check_i64(env_parse_schedstat(LEN("123 456")), -1);
    check_i64(env_parse_schedstat(LEN("123")), -1);
    check_i64(env_parse_schedstat(LEN("")), -1);
    check_i64(env_parse_schedstat(LEN("a 456 7")), -1);
    check_i64(env_parse_schedstat(LEN("1 -4 7")), -1);
}

static void reads_a_lone_number(void **state)
{
    (void)state;
    check_i64(env_parse_number(LEN("67108864\n")), 67108864);
    check_i64(env_parse_number(LEN("max\n")), -1);
    check_i64(env_parse_number(LEN("\n")), -1);
    check_i64(env_parse_number(LEN("1 2\n")), -1);
}

static void picks_the_line_of_the_controller(void **state)
{
    (void)state;
    static const char text[] = "5:memory:/m\n4:cpuset:/s\n"
                               "3:cpu,cpuacct:/c\n0::/v2\n";
    char path[ENV_PATH_SIZE];
    char list[ENV_PATH_SIZE];
    check_i64(env_parse_cgroup(LEN(text), "cpu", path, list), 0);
    check_text(path, "/c");
    check_text(list, "cpu,cpuacct");
    check_i64(env_parse_cgroup(LEN(text), "cpuacct", path, list), 0);
    check_text(path, "/c");
    check_i64(env_parse_cgroup(LEN(text), "", path, list), 0);
    check_text(path, "/v2");
    check_i64(env_parse_cgroup(LEN(text), "pids", path, list), ERR_BAD);
    check_i64(env_parse_cgroup(LEN("0::/../x\n"), "", path, list), ERR_BAD);
    check_i64(env_parse_cgroup(LEN("0::x\n"), "", path, list), ERR_BAD);
    check_i64(env_parse_cgroup(LEN("0:\n"), "", path, list), ERR_BAD);
}

static void refuses_a_path_that_is_too_long(void **state)
{
    (void)state;
    char text[ENV_PATH_SIZE + 8] = "0::/";
    char path[ENV_PATH_SIZE];
    char list[ENV_PATH_SIZE];
    memset(text + 4, 'x', sizeof(text) - 4);
    check_i64(env_parse_cgroup(text, 3 + ENV_PATH_SIZE, "", path, list),
              ERR_TOOBIG);
    check_i64(env_parse_cgroup(text, 2 + ENV_PATH_SIZE, "", path, list), 0);
    check_u64(strlen(path), ENV_PATH_SIZE - 1);
}

/* Whatever the bytes are, only values that make sense come out. */
static void parsers_are_total(void **state)
{
    (void)state;
    static const char alphabet[] = "some avg10=0123456789.\n :/,cpu-";
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        char text[64] = "some avg10=";
        size_t len = rng_below(&rng, sizeof(text));
        char path[ENV_PATH_SIZE];
        char list[ENV_PATH_SIZE];
        for (size_t i = round % 2 ? 11 : 0; i < sizeof(text); i++)
            text[i] = alphabet[rng_below(&rng, sizeof(alphabet))];
        int32_t psi = env_parse_psi(text, len);
        check_true(psi >= -1 && psi <= 10099);
        check_true(env_parse_key(text, len, "a") >= -1);
        check_true(env_parse_number(text, len) >= -1);
        check_true(env_parse_schedstat(text, len) >= -1);
        env_parse_cgroup(text, len, "cpu", path, list);
    }
}

/* ---- made-up hosts ----------------------------------------------------- */

struct host {
    char root[64];
};

static int set_up(void **state)
{
    static struct host host;
    snprintf(host.root, sizeof(host.root), "/tmp/test_env.XXXXXX");
    *state = &host;
    return mkdtemp(host.root) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct host *h = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", h->root);
    return system(command);
}

/* Write root/path, making the directories on the way. */
static void put(const struct host *h, const char *path, const char *text)
{
    char full[512];
    int n = snprintf(full, sizeof(full), "%s/%s", h->root, path);
    check_true(n > 0 && (size_t)n < sizeof(full));
    for (char *c = full + strlen(h->root) + 1; (c = strchr(c, '/')); c++) {
        *c = '\0';
        check_true(mkdir(full, 0777) == 0 || errno == EEXIST);
        *c = '/';
    }
    /* In place, so that descriptors that are open see the new text. */
    FILE *f = fopen(full, "w");
    check_true(f != NULL);
    check_true(fputs(text, f) >= 0);
    check_true(fclose(f) == 0);
}

static const struct frame_context untouched = {.lag_p99_us = 11,
                                               .missed_slots = 12,
                                               .in_flight_max = 13,
                                               .queue_drops = 14};

static void knows_nothing_on_an_empty_host(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    struct env *e = env_open(h->root, 7);
    env_sample(e, 0, &c);
    env_sample(e, SEC, &c);
    check_false(c.is_starved);
    check_i64(c.psi_cpu, -1);
    check_i64(c.psi_memory, -1);
    check_i64(c.psi_io, -1);
    check_i64(c.throttled_us, -1);
    check_i64(c.nr_throttled, -1);
    check_i64(c.memory_used, -1);
    check_i64(c.memory_limit, -1);
    check_i64(c.runq_wait_us, -1);
    check_i64(c.lag_p99_us, 11);
    check_i64(c.missed_slots, 12);
    check_i64(c.in_flight_max, 13);
    check_i64(c.queue_drops, 14);
    env_close(e);
}

static void reads_a_v2_host_and_gives_differences(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/pressure/cpu", PSI);
    put(h, "proc/pressure/memory", "some avg10=0.02 avg60=0 total=1\n");
    put(h, "proc/pressure/io", "some avg10=3.00 avg60=0 total=1\n");
    put(h, "proc/self/cgroup", "0::/sys.slice/p.service\n");
    put(h, "proc/self/task/77/schedstat", "1 5000000 1\n");
    put(h, "sys/fs/cgroup/sys.slice/p.service/cpu.stat",
        "usage_usec 9\nnr_throttled 10\nthrottled_usec 500\n");
    put(h, "sys/fs/cgroup/sys.slice/p.service/memory.current", "1000\n");
    put(h, "sys/fs/cgroup/sys.slice/p.service/memory.max", "4000\n");

    struct env *e = env_open(h->root, 77);
    env_sample(e, 0, &c);
    check_i64(c.psi_cpu, 135);
    check_i64(c.psi_memory, 2);
    check_i64(c.psi_io, 300);
    check_i64(c.memory_used, 1000);
    check_i64(c.memory_limit, 4000);
    check_i64(c.nr_throttled, -1); /* no previous value */
    check_i64(c.throttled_us, -1);
    check_i64(c.runq_wait_us, -1);

    put(h, "proc/self/task/77/schedstat", "1 25000000 1\n");
    put(h, "sys/fs/cgroup/sys.slice/p.service/cpu.stat",
        "usage_usec 9\nnr_throttled 13\nthrottled_usec 900\n");
    put(h, "sys/fs/cgroup/sys.slice/p.service/memory.current", "1500\n");
    env_sample(e, 10 * SEC, &c);
    check_i64(c.nr_throttled, 3);
    check_i64(c.throttled_us, 400);
    check_i64(c.runq_wait_us, 20000);
    check_i64(c.memory_used, 1500);
    check_false(c.is_starved);

    /* A counter that went back is not a difference, the next one is. */
    put(h, "proc/self/task/77/schedstat", "1 1000000 1\n");
    env_sample(e, 10 * SEC, &c);
    check_i64(c.runq_wait_us, -1);
    put(h, "proc/self/task/77/schedstat", "1 2000000 1\n");
    env_sample(e, 10 * SEC, &c);
    check_i64(c.runq_wait_us, 1000);
    env_close(e);
}

static void reads_v1_controllers_on_a_hybrid_host(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup",
        "4:memory:/m\n2:cpu,cpuacct:/c/d\n1:name=systemd:/\n0::/u\n");
    put(h, "sys/fs/cgroup/cpu,cpuacct/c/d/cpu.stat",
        "nr_periods 1\nnr_throttled 1\nthrottled_time 1000000\n");
    put(h, "sys/fs/cgroup/memory/m/memory.usage_in_bytes", "123\n");
    put(h, "sys/fs/cgroup/memory/m/memory.limit_in_bytes",
        "9223372036854771712\n");
    put(h, "sys/fs/cgroup/unified/u/cpu.stat", "usage_usec 1\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    put(h, "sys/fs/cgroup/cpu,cpuacct/c/d/cpu.stat",
        "nr_periods 1\nnr_throttled 2\nthrottled_time 3500000\n");
    env_sample(e, SEC, &c);
    check_i64(c.nr_throttled, 1);
    check_i64(c.throttled_us, 2500);
    check_i64(c.memory_used, 123);
    check_i64(c.memory_limit, -1); /* the kernel's word for none */
    check_i64(c.runq_wait_us, -1);
    env_close(e);
}

static void finds_v1_by_the_controller_name_too(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup", "4:memory:/\n0::/\n");
    put(h, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n");
    put(h, "sys/fs/cgroup/memory/memory.limit_in_bytes", "6\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    check_i64(c.memory_used, 5);
    check_i64(c.memory_limit, 6);
    env_close(e);
}

static void takes_the_mount_where_the_path_does_not_exist(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup", "0::/kubepods/pod1/abc\n");
    put(h, "sys/fs/cgroup/memory.current", "10\n");
    put(h, "sys/fs/cgroup/memory.max", "20\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    check_i64(c.memory_used, 10);
    check_i64(c.memory_limit, 20);
    env_close(e);
}

static void takes_the_mount_for_a_group_outside_the_namespace(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup", "0::/../../abc\n");
    put(h, "sys/fs/cgroup/unified/memory.current", "10\n");
    put(h, "sys/fs/abc/memory.current", "99\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    check_i64(c.memory_used, 10);
    env_close(e);
}

static void reads_the_nearest_group_with_a_limit(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup", "0::/a/b/c\n");
    put(h, "sys/fs/cgroup/a/b/c/cpu.stat", "nr_throttled 0\n");
    put(h, "sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put(h, "sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 5\n");
    put(h, "sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    put(h, "sys/fs/cgroup/a/cpu.stat", "nr_throttled 9\n");
    put(h, "sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put(h, "sys/fs/cgroup/a/b/c/memory.current", "1\n");
    put(h, "sys/fs/cgroup/a/b/c/memory.max", "max\n");
    put(h, "sys/fs/cgroup/a/b/memory.current", "2\n");
    put(h, "sys/fs/cgroup/a/b/memory.max", "max\n");
    put(h, "sys/fs/cgroup/a/memory.current", "3\n");
    put(h, "sys/fs/cgroup/a/memory.max", "7\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    put(h, "sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 6\n");
    env_sample(e, SEC, &c);
    check_i64(c.nr_throttled, 1);
    check_i64(c.throttled_us, -1);
    check_i64(c.memory_used, 3);
    check_i64(c.memory_limit, 7);
    env_close(e);
}

static void stays_with_its_own_group_if_none_has_a_limit(void **state)
{
    struct host *h = *state;
    struct frame_context c = untouched;
    put(h, "proc/self/cgroup", "0::/a\n");
    put(h, "sys/fs/cgroup/a/memory.current", "1\n");
    put(h, "sys/fs/cgroup/a/memory.max", "max\n");
    put(h, "sys/fs/cgroup/memory.current", "2\n");
    struct env *e = env_open(h->root, 0);
    env_sample(e, 0, &c);
    check_i64(c.memory_used, 1);
    check_i64(c.memory_limit, -1);
    env_close(e);
}

/* ---- the rule ---------------------------------------------------------- */

static const struct frame_context calm = {.psi_cpu = 0, .psi_memory = 0};

static void waiting_above_five_percent_is_starving(void **state)
{
    (void)state;
    struct frame_context c = calm;
    c.runq_wait_us = 500000; /* of ten seconds: exactly 5 % */
    check_false(env_is_starved(&c, 10 * SEC));
    c.runq_wait_us++;
    check_true(env_is_starved(&c, 10 * SEC));
    check_false(env_is_starved(&c, 0)); /* share of an unknown time */
    c.psi_cpu = 10000; /* does not matter while the wait is known */
    c.runq_wait_us = 0;
    check_false(env_is_starved(&c, 10 * SEC));
}

static void throttling_above_one_percent_is_starving(void **state)
{
    (void)state;
    struct frame_context c = calm;
    c.throttled_us = 100000;
    check_false(env_is_starved(&c, 10 * SEC));
    c.throttled_us++;
    check_true(env_is_starved(&c, 10 * SEC));
}

static void memory_pressure_is_starving_and_io_is_not(void **state)
{
    (void)state;
    struct frame_context c = calm;
    c.psi_io = 10000;
    c.psi_memory = 2000;
    check_false(env_is_starved(&c, 10 * SEC));
    c.psi_memory = 2001;
    check_true(env_is_starved(&c, 10 * SEC));
}

static void cpu_pressure_stands_in_for_an_unknown_wait(void **state)
{
    (void)state;
    struct frame_context c = calm;
    c.runq_wait_us = c.throttled_us = -1;
    c.psi_cpu = 2000;
    check_false(env_is_starved(&c, 10 * SEC));
    c.psi_cpu = 2001;
    check_true(env_is_starved(&c, 10 * SEC));
}

int main(void)
{
#define ON_HOST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_pressure_in_hundredths),
        cmocka_unit_test(refuses_what_is_no_pressure),
        cmocka_unit_test(finds_a_key_only_at_the_start_of_a_line),
        cmocka_unit_test(reads_the_wait_of_schedstat),
        cmocka_unit_test(reads_a_lone_number),
        cmocka_unit_test(picks_the_line_of_the_controller),
        cmocka_unit_test(refuses_a_path_that_is_too_long),
        cmocka_unit_test(parsers_are_total),
        ON_HOST(knows_nothing_on_an_empty_host),
        ON_HOST(reads_a_v2_host_and_gives_differences),
        ON_HOST(reads_v1_controllers_on_a_hybrid_host),
        ON_HOST(finds_v1_by_the_controller_name_too),
        ON_HOST(takes_the_mount_where_the_path_does_not_exist),
        ON_HOST(takes_the_mount_for_a_group_outside_the_namespace),
        ON_HOST(reads_the_nearest_group_with_a_limit),
        ON_HOST(stays_with_its_own_group_if_none_has_a_limit),
        cmocka_unit_test(waiting_above_five_percent_is_starving),
        cmocka_unit_test(throttling_above_one_percent_is_starving),
        cmocka_unit_test(memory_pressure_is_starving_and_io_is_not),
        cmocka_unit_test(cpu_pressure_stands_in_for_an_unknown_wait),
    };
    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
