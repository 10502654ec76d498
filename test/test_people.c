/* From a configuration to principals, with files of good and bad manners. */
#include "prober/people.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/config_value.h"
#include "test/check.h"

#define SUM   \
    "sha256:" \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char dir[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_people.XXXXXX");
    check_true(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/tokens", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(dir);
    return 0;
}

static void put_file(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    check_true(f != NULL);
    fputs(text, f);
    fclose(f);
    check_true(chmod(path, mode) == 0);
}

static struct config *config_of(const char *text)
{
    struct config *c = NULL;
    char *errors = NULL;
    char whole[1024];
    snprintf(whole, sizeof(whole), "node: {name: n, zone: z}\n%s", text);
    int err = config_parse("t", whole, strlen(whole), getenv, &c, &errors);
    if (err)
        print_error("%s", errors ? errors : "");
    check_true(err == 0);
    return c;
}

/* The message, without the directory in front of it. */
static void check_fails(const char *config, int want, const char *says)
{
    struct config *c = config_of(config);
    struct people_lists l;
    struct errmsg msg = {0};
    int err = people_load(&l, c, &msg);
    if (err != want || !strstr(msg.text, says))
        print_error("%d \"%s\", wanted \"%s\"\n", err, msg.text, says);
    check_true(err == want);
    check_true(strstr(msg.text, says) != NULL);
    config_free(c);
}

static void check_file_fails(int want, const char *says)
{
    char text[256];
    char whole[512];
    snprintf(text, sizeof(text), "control: {tokens_file: %s}\n", path);
    snprintf(whole, sizeof(whole), "%s: %s", path, says);
    check_fails(text, want, says[0] == ':' ? says : whole);
}

static void finds_users_groups_certificates_and_tokens(void **state)
{
    (void)state;
    char text[512];
    struct people_lists l;
    struct errmsg msg = {0};
    put_file("ci runner " SUM "\n", 0400);
    snprintf(text, sizeof(text),
             "control: {tokens_file: %s, client_ca: ca.pem, "
             "requests_per_minute: 77, users: [{user: root, role: admin}, "
             "{group: root, role: prober}, {user: 4711, role: viewer}, "
             "{role: runner, group: 4294967294}], "
             "certificates: [{name: a.example.org, role: runner}]}\n",
             path);
    struct config *c = config_of(text);
    check_true(people_load(&l, c, &msg) == 0);
    const struct principals_config *p = &l.config;
    check_u64(p->own_uid, geteuid());
    check_u64(p->requests_per_minute, 77);
    check_u64(p->requests_burst, 77);
    check_u64(p->n_users, 4);
    check_u64(p->users[0].id, 0);
    check_false(p->users[0].is_group);
    check_u64(p->users[0].role, ROLE_ADMIN);
    check_true(p->users[1].is_group);
    check_u64(p->users[1].role, ROLE_PROBER);
    check_u64(p->users[2].id, 4711);
    check_u64(p->users[2].role, ROLE_VIEWER);
    check_u64(p->users[3].id, 4294967294u);
    check_true(p->users[3].is_group);
    check_u64(p->n_certificates, 1);
    assert_string_equal(p->certificates[0].name, "a.example.org");
    check_u64(p->certificates[0].role, ROLE_RUNNER);
    check_u64(p->n_tokens, 1);
    assert_string_equal(p->tokens[0].name, "ci");
    check_u64(p->tokens[0].sha256[1], 0x11);
    struct principals *made = principals_open(p);
    check_true(made != NULL);
    principals_close(made);
    people_fini(&l);
    config_free(c);
}

static void without_people_there_are_none(void **state)
{
    (void)state;
    struct people_lists l;
    struct errmsg msg = {0};
    struct config *c = config_of("");
    check_true(people_load(&l, c, &msg) == 0);
    check_u64(l.config.n_tokens + l.config.n_users + l.config.n_certificates,
              0);
    people_fini(&l);
    config_free(c);
}

static void says_which_user_is_missing(void **state)
{
    (void)state;
    check_fails("control: {users: [{user: root, role: admin}, "
                "{user: no-such-user-here, role: admin}]}\n",
                ERR_BAD,
                "control.users[1]: there is no user no-such-user-here on this "
                "host");
    check_fails("control: {users: [{group: no-such-group, role: admin}]}\n",
                ERR_BAD,
                "control.users[0]: there is no group no-such-group on this "
                "host");
    check_fails("control: {users: [{user: 4294967295, role: admin}]}\n",
                ERR_BAD, "there is no user 4294967295 ");
    check_fails("control: {users: [{user: 42949672960, role: admin}]}\n",
                ERR_BAD, "there is no user 42949672960 ");
    /* 2^64 + 1 */
    check_fails("control: {users: [{user: 18446744073709551617, "
                "role: admin}]}\n",
                ERR_BAD, "there is no user 18446744073709551617 ");
}

static void takes_files_that_only_owner_and_group_may_read(void **state)
{
    (void)state;
    char text[256];
    snprintf(text, sizeof(text), "control: {tokens_file: %s}\n", path);
    for (mode_t mode = 0; mode <= 0777; mode++) {
        struct people_lists l;
        struct errmsg msg = {0};
        if (geteuid() != 0 && !(mode & 0400))
            continue;
        put_file("ci runner " SUM "\n", mode);
        struct config *c = config_of(text);
        int err = people_load(&l, c, &msg);
        check_true((err == 0) == ((mode & 0026) == 0));
        check_true(err == 0 || err == ERR_SYS);
        if (!err)
            people_fini(&l);
        config_free(c);
        unlink(path);
    }
}

static void says_what_is_wrong_with_the_file(void **state)
{
    (void)state;
    check_file_fails(ERR_SYS, "No such file or directory");
    put_file("ci runner " SUM "\nx\n", 0600);
    check_file_fails(ERR_BAD,
                     "line 2: is not \"name role sha256:<64 hex digits>\"");
    put_file("ci runner " SUM "\n", 0644);
    check_file_fails(ERR_SYS, "may be read by everybody");
    put_file("ci runner " SUM "\n", 0660);
    check_file_fails(ERR_SYS, "may be written by others than its owner");
    check_true(unlink(path) == 0);
    check_true(mkfifo(path, 0600) == 0); /* and does not wait for it */
    check_file_fails(ERR_SYS, "is not a regular file");
    check_true(unlink(path) == 0);
    check_fails("control: {tokens_file: /}\n", ERR_SYS,
                "/: is not a regular file");
    if (geteuid() == 0) {
        put_file("ci runner " SUM "\n", 0600);
        check_true(chown(path, 4711, 0) == 0);
        check_file_fails(ERR_SYS, "belongs to neither root nor this user");
    }
}

static void objects_to_owners_and_modes(void **state)
{
    (void)state;
    check_true(people_objection(0, S_IFREG | 0400, 7) == NULL);
    check_true(people_objection(7, S_IFREG | 0640, 7) == NULL);
    check_true(people_objection(8, S_IFREG | 0400, 7) != NULL);
    check_true(people_objection(7, S_IFDIR | 0400, 7) != NULL);
    check_true(people_objection(7, S_IFLNK | 0400, 7) != NULL);
    check_true(people_objection(7, S_IFREG | 0404, 7) != NULL);
    check_true(people_objection(7, S_IFREG | 0402, 7) != NULL);
    check_true(people_objection(7, S_IFREG | 0420, 7) != NULL);
}

/* config_value.c may not know enum role, so it has its own list. */
static void roles_of_the_configuration_are_those_of_principals(void **state)
{
    (void)state;
    for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++) {
        uint8_t role = 0;
        check_true(config_value_role(NULL, role_name((enum role)r), false,
                                     &role, NULL) == 0);
        check_u64(role, (uint64_t)r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_users_groups_certificates_and_tokens),
        cmocka_unit_test(without_people_there_are_none),
        cmocka_unit_test(says_which_user_is_missing),
        cmocka_unit_test(takes_files_that_only_owner_and_group_may_read),
        cmocka_unit_test(says_what_is_wrong_with_the_file),
        cmocka_unit_test(objects_to_owners_and_modes),
        cmocka_unit_test(roles_of_the_configuration_are_those_of_principals),
    };
    return cmocka_run_group_tests_name("people", tests, set_up, tear_down);
}
