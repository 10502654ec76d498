/* What the control port makes of files and names: the audit log, tokens, the
 * unix socket, the configuration. Whatever fails: nobody is let in who would
 * not be, and nothing counts as written that is not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "prober/audit.h"
#include "prober/config.h"
#include "prober/control_socket.h"
#include "prober/people.h"
#include "prober/reload.h"
#include "prober/target_policy_config.h"
#include "proto/digest.h"
#include "test/torture/faults.h"
#include "test/torture/torture.h"

static void put_path(char path[160], const char *name)
{
    snprintf(path, 160, "%s/%s", torture_directory(), name);
}

/* As the test, not as the code under it. */
static void put_file(const char *path, const char *text, mode_t mode)
{
    faults_pause();
    FILE *f = fopen(path, "w");
    claim(f && fputs(text, f) >= 0);
    claim(fclose(f) == 0 && chmod(path, mode) == 0);
    faults_resume();
}

static size_t get_file(const char *path, char *text, size_t size)
{
    faults_pause();
    size_t n = 0;
    FILE *f = fopen(path, "r");
    if (f) {
        n = fread(text, 1, size - 1, f);
        fclose(f);
    }
    text[n] = '\0';
    faults_resume();
    return n;
}

static void remove_file(const char *path)
{
    faults_pause();
    (void)remove(path);
    faults_resume();
}

static char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* ---- the audit log ---- */

/* Is there a whole line that names this number? */
static bool is_written(const char *text, unsigned number)
{
    char piece[32];
    snprintf(piece, sizeof(piece), "\"number\":%u}\n", number);
    const char *at = strstr(text, piece);
    while (at && at > text && at[-1] != '\n')
        at--;
    return at && strncmp(at, "{\"time\":", 8) == 0;
}

static bool write_number(struct audit *a, const char *path, unsigned number)
{
    char text[16384];
    const struct audit_field fields[] = {
        {"who", "uid:0", 0}, {"number", NULL, number}, {NULL, NULL, 0}};
    uint64_t failures = audit_failures(a);
    int rc = audit_write(a, "test", fields);
    (void)get_file(path, text, sizeof(text));
    claim(rc == 0 || rc == ERR_SYS);
    /* Said to be there is there, and whole. */
    claim(rc != 0 || is_written(text, number));
    claim(audit_is_failing(a) == (rc != 0));
    claim(audit_failures(a) == failures + (rc != 0));
    return rc == 0;
}

static bool audit_lines(void)
{
    char path[160], other[160];
    struct errmsg msg = {""};
    put_path(path, "audit");
    put_path(other, "audit.other");
    bool is_fine = false;
    struct audit *a = audit_open(path, &msg);
    if (!a) {
        claim(msg.text[0]);
        goto out;
    }
    is_fine = true;
    for (unsigned i = 1; i <= 3; i++)
        is_fine &= write_number(a, path, i);
    /* After a failed one it goes on with the old file. */
    bool is_moved = audit_reopen(a, other, &msg) == 0;
    is_fine &= is_moved && write_number(a, is_moved ? other : path, 4);
    if (!is_moved)
        write_number(a, path, 4);
    audit_check(a);
    is_fine &= !audit_is_failing(a);
    audit_close(a);
out:
    remove_file(path);
    remove_file(other);
    return is_fine;
}

/* ---- tokens ---- */

#define GOOD "0123456789abcdefghijkl"
#define TOKENS                                                           \
    "# people\nci prober sha256:"                                        \
    "59a3e5e3f6a9c3c2c2b4a7f59f2b7c0c9e7d4b9ac5be9a2b4bf0b8f0a9d2c011\n" \
    "good admin %s\n"

static struct config *parse(const char *text)
{
    struct config *c = NULL;
    char *errors = NULL;
    faults_pause();
    claim(config_parse("t", text, strlen(text), no_env, &c, &errors) == 0);
    faults_resume();
    return c;
}

static bool check_identities(struct principals *p)
{
    struct principal who = {.role = ROLE_NONE};
    struct httpd_peer peer = {.is_local = true, .uid = 4711, .gid = 4711};
    enum identify_result r =
        principals_identify(p, 1, &peer, "Bearer " GOOD, &who);
    claim(r != IDENTIFY_OK || who.role == ROLE_ADMIN);
    bool is_fine = r == IDENTIFY_OK;
    r = principals_identify(p, 1, &peer, "Bearer 0123456789abcdefghijkX", &who);
    claim(r != IDENTIFY_OK);
    r = principals_identify(p, 1, &peer, NULL, &who);
    claim(r != IDENTIFY_OK);
    peer.uid = 1001;
    r = principals_identify(p, 1, &peer, NULL, &who);
    claim(r == IDENTIFY_OK && who.role == ROLE_VIEWER);
    return is_fine;
}

static bool load_people(const struct config *c, struct principals **p)
{
    struct people_lists people;
    struct errmsg msg = {""};
    int rc = people_load(&people, c, &msg);
    claim(rc == 0 || msg.text[0]);
    if (rc)
        return false;
    claim(people.config.n_tokens == 2);
    if (*p)
        rc = principals_reload(*p, &people.config);
    else
        *p = principals_open(&people.config);
    people_fini(&people);
    return rc == 0 && *p;
}

static bool tokens_and_people(void)
{
    char path[160], text[1024], digest[DIGEST_TEXT_SIZE];
    uint8_t sum[DIGEST_SIZE];
    put_path(path, "tokens");
    faults_pause();
    claim(digest_sha256(GOOD, strlen(GOOD), sum) == 0);
    digest_format(sum, digest);
    faults_resume();
    snprintf(text, sizeof(text), TOKENS, digest);
    put_file(path, text, 0600);
    snprintf(text, sizeof(text),
             "node: {name: a-1, zone: a}\n"
             "control: {tokens_file: '%s', users: [{user: '1001', role: "
             "viewer}, {group: root, role: runner}, {user: root, role: "
             "admin}]}\n",
             path);
    struct config *c = parse(text);
    struct principals *p = NULL;
    bool is_fine = load_people(c, &p);
    if (p) {
        is_fine &= check_identities(p);
        /* Those in force stay if the new ones cannot be read. */
        is_fine &= load_people(c, &p);
        is_fine &= check_identities(p);
    }
    principals_close(p);
    config_free(c);
    remove_file(path);
    return is_fine;
}

/* ---- the unix socket ---- */

static bool can_connect(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    claim(strlen(path) < sizeof(name.sun_path));
    memcpy(name.sun_path, path, strlen(path));
    faults_pause();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    claim(fd >= 0);
    bool is = connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0;
    close(fd);
    faults_resume();
    return is;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    faults_pause();
    mode_t mode = stat(path, &st) ? 0 : st.st_mode & 07777;
    faults_resume();
    return mode;
}

/* The second finds what the first, killed, has left. */
static bool unix_socket(void)
{
    char path[160];
    struct errmsg msg = {""};
    struct control_socket s;
    bool is_fine = true;
    put_path(path, "c.sock");
    for (int i = 0; i < 2; i++) {
        int rc =
            control_socket_open(&s, path, false, 0660, i ? "root" : "", &msg);
        claim(rc == 0 || (rc < 0 && msg.text[0] && s.fd == -1));
        claim((mode_of(path) & ~0660u) == 0);
        is_fine &= rc == 0;
        if (rc)
            continue;
        claim(can_connect(path));
        claim(mode_of(path) == 0660);
        if (i)
            control_socket_remove(&s);
        close(s.fd);
    }
    is_fine &= mode_of(path) == 0;
    remove_file(path);
    return is_fine;
}

/* ---- the configuration ---- */

#define BASE                                                                 \
    "node: {name: a-1, zone: a, region: r}\n"                                \
    "control: {listen: 'unix:/run/prober/c.sock', allow: ['10.0.0.0/8', "    \
    "'*.example'], ports: [80], users: [{user: '5', role: viewer}], hosts: " \
    "[h], dangerously_allow: ['127.0.0.1']}\n"                               \
    "dns: {servers: ['10.0.0.3:53']}\n"                                      \
    "peers: [{name: p, zone: a, address: '10.0.0.4:7443'}]\n"                \
    "targets: [{name: t, url: 'https://t.example/', zones: [a]}]\n"

static bool load(const char *path, struct config **c, bool is_good)
{
    char *errors = NULL;
    *c = NULL;
    int rc = config_load(path, no_env, c, &errors);
    claim((rc == 0) == (*c != NULL));
    claim(rc != 0 || is_good); /* a bad one is never taken */
    claim(rc != 0 || !errors);
    bool is_fine = is_good ? rc == 0 : rc == ERR_BAD && errors;
    free(errors);
    return is_fine;
}

static bool fill(const struct config *c)
{
    struct errmsg msg = {""};
    struct target_policy *p = malloc(sizeof(*p));
    const struct addr own = {.family = ADDR_V4, .port = 7070};
    if (!p)
        return false;
    bool is_fine = target_policy_fill(p, c, &own, 1, &msg) == 0;
    claim(is_fine); /* takes nothing that could be lacking */
    claim(p->n_rules == 2 && p->n_dangerous == 1 && !p->is_local_known);
    if (target_policy_read_local(p)) {
        claim(!p->is_local_known && p->n_local == 0);
        is_fine = false;
    }
    free(p);
    return is_fine;
}

static bool configuration(void)
{
    char path[160];
    char *environment[] = {(char[]){"PROBER_TYPO=1"}, NULL};
    struct config *one, *two, *bad;
    struct wr fixed, changed;
    put_path(path, "prober.yaml");
    put_file(path, BASE, 0600);
    bool is_fine = load(path, &one, true);
    put_file(path, BASE "log: {level: debug}\napi: {listen: '1.2.3.4:5'}\n",
             0600);
    is_fine &= load(path, &two, true);
    put_file(path, BASE "log: {level: loud}\nnodes: 1\ncontrol: 1\n", 0600);
    is_fine &= load(path, &bad, false);
    claim(!bad);
    if (one && two) {
        wr_init_grow(&fixed, 1024);
        wr_init_grow(&changed, 1024);
        unsigned parts = reload_compare(one, two, &fixed, &changed);
        claim(parts == RELOAD_LOG);
        is_fine &= wr_err(&fixed) == 0 && fixed.len == strlen("api.listen\n");
        wr_fini(&fixed);
        wr_fini(&changed);
    }
    if (one) {
        is_fine &= config_warn_environment(one, environment) == 0;
        is_fine &= fill(one);
    }
    config_free(one);
    config_free(two);
    remove_file(path);
    return is_fine;
}

int main(void)
{
    static const struct torture_scenario all[] = {
        {"audit_lines_are_there_or_said_not_to_be", audit_lines, 1000, true},
        {"nobody_is_let_in_by_a_failure", tokens_and_people, 100, true},
        {"a_unix_socket_is_ours_or_not_there", unix_socket, 1000, true},
        {"a_configuration_is_taken_whole_or_not", configuration, 60, true},
    };
    return torture_main(all, sizeof(all) / sizeof(all[0]));
}
