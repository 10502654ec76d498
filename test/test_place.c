/* A zone out of a file, and out of what an API server says. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/cli_zone.h"
#include "prober/config_place.h"
#include "test/check.h"

static char path[64];

static void put(const char *text, size_t len)
{
    snprintf(path, sizeof(path), "/tmp/test_place.%d", (int)getpid());
    FILE *f = fopen(path, "w");
    check_true(f && fwrite(text, 1, len, f) == len);
    fclose(f);
}

/* What is read from a file with this text; "-": nothing, and it says why. */
static void reads(const char *text, size_t len, const char *want)
{
    char name[CONFIG_NAME_MAX + 1] = "-";
    struct errmsg why = {{0}};
    put(text, len);
    int rc = config_place_read(path, name, &why);
    check_text(name, want);
    check_true((rc == 0) == (strcmp(want, "-") != 0));
    check_true((rc == 0) == (why.text[0] == '\0'));
    if (rc) {
        check_i64(rc, ERR_BAD);
        check_true(!strncmp(why.text, path, strlen(path)));
    }
    unlink(path);
}

#define READS(text, want) reads(text, sizeof(text) - 1, want)

static void the_first_line_is_the_name(void **state)
{
    (void)state;
    READS("eu-west-1a", "eu-west-1a");
    READS("eu-west-1a\n", "eu-west-1a");
    READS("  a_B.9\t\r\nsecond", "a_B.9");
}

static void what_is_no_name_is_none(void **state)
{
    (void)state;
    char longest[400];
    READS("", "-");
    READS("\n", "-");
    READS(" \t\n", "-");
    READS("\na", "-");
    READS("a b", "-");
    READS("a\0b", "a"); /* ends there */
    READS("zone\xc3\xa4", "-");
    READS("a/b", "-");
    memset(longest, 'z', sizeof(longest));
    reads(longest, CONFIG_NAME_MAX + 1, "-");
    reads(longest, sizeof(longest), "-");
    char name[CONFIG_NAME_MAX + 1];
    memset(name, 'z', CONFIG_NAME_MAX);
    name[CONFIG_NAME_MAX] = '\0';
    reads(longest, CONFIG_NAME_MAX, name);
}

static void what_is_no_file_is_not_waited_for(void **state)
{
    (void)state;
    char name[CONFIG_NAME_MAX + 1] = "as it was";
    struct errmsg why = {{0}};
    snprintf(path, sizeof(path), "/tmp/test_place.%d", (int)getpid());
    unlink(path);
    check_i64(config_place_read(path, name, &why), ERR_SYS);
    check_i64(config_place_read("/tmp", name, &why), ERR_SYS);
    check_true(mkfifo(path, 0600) == 0);
    check_i64(config_place_read(path, name, &why), ERR_SYS);
    unlink(path);
    check_text(name, "as it was");
}

/* By the way of the daemon: the file fills in, and is warned about. */
static void a_file_fills_in_what_is_not_said(void **state)
{
    (void)state;
    char file[80], text[256];
    struct config *c = NULL;
    char *errors = NULL;
    put("z7\n", 3);
    snprintf(file, sizeof(file), "%s.yaml", path);
    for (int round = 0; round < 3; round++) {
        snprintf(text, sizeof(text),
                 "node: {name: a, %szone_file: %s, region_file: %s.none}\n",
                 round == 1 ? "zone: said, " : "", path, path);
        if (round == 2)
            put("no name", 7);
        FILE *f = fopen(file, "w");
        check_true(f && fputs(text, f) >= 0);
        fclose(f);
        check_i64(config_load(file, getenv, &c, &errors), 0);
        check_text(c->node.zone, round == 0   ? "z7"
                                 : round == 1 ? "said"
                                              : "unknown");
        check_text(c->node.region, "unknown");
        check_true(strstr(c->warnings, "node.region stays unknown: ") != NULL);
        check_true((strstr(c->warnings, "node.zone stays unknown: ") != NULL) ==
                   (round == 2));
        config_free(c);
    }
    unlink(file);
    unlink(path);
}

static void the_labels_of_a_node_say_where_it_is(void **state)
{
    (void)state;
    static const char node[] =
        "{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\",\"labels\":{"
        "\"topology.kubernetes.io/zone\":\"eu-1a\","
        "\"topology.kubernetes.io/region\":\"eu-1\"}}}";
    char zone[CLI_ZONE_SIZE], region[CLI_ZONE_SIZE];
    struct errmsg msg = {{0}};
    check_i64(cli_zone_parse(node, sizeof(node) - 1, zone, region, &msg), 0);
    check_text(zone, "eu-1a");
    check_text(region, "eu-1");
    static const char *const none[] = {
        "{}",
        "[]",
        "{\"metadata\":[]}",
        "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":7}}}",
        "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"a b\"}}}",
    };
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        check_i64(cli_zone_parse(none[i], strlen(none[i]), zone, region, &msg),
                  0);
        check_text(zone, "");
        check_text(region, "");
    }
    for (size_t len = 0; len < sizeof(node) - 1; len++)
        check_i64(cli_zone_parse(node, len, zone, region, &msg), ERR_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_is_the_name),
        cmocka_unit_test(what_is_no_name_is_none),
        cmocka_unit_test(what_is_no_file_is_not_waited_for),
        cmocka_unit_test(a_file_fills_in_what_is_not_said),
        cmocka_unit_test(the_labels_of_a_node_say_where_it_is),
    };
    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
