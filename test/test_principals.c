/* Who is who, by hand: every way to be known, every way not to be. */
#include "prober/principals.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/digest.h"
#include "test/check.h"

#define SEC UINT64_C(1000000000)

#define TOKEN_VIEWER "viewer-token-0123456789abcdef"
#define TOKEN_RUNNER "runner-token-0123456789abcdef"
#define TOKEN_PROBER "prober-token-0123456789abcdef"
#define TOKEN_ADMIN  "admin-token-0123456789abcdefg"

static const struct principal_user users[] = {
    {.is_group = false, .id = 1001, .role = ROLE_RUNNER},
    {.is_group = true, .id = 2000, .role = ROLE_VIEWER},
    {.is_group = true, .id = 2001, .role = ROLE_PROBER},
};

static const struct principal_certificate certificates[] = {
    {"oncall.example.org", ROLE_ADMIN},
    {"spiffe://example.org/ci", ROLE_RUNNER},
    {"bob@example.org", ROLE_VIEWER},
};

static struct principal_token token_of(const char *name, enum role role,
                                       const char *token)
{
    struct principal_token t = {.role = role};
    snprintf(t.name, sizeof(t.name), "%s", name);
    check_true(digest_sha256(token, strlen(token), t.sha256) == 0);
    return t;
}

static struct principals *open_some(unsigned requests_per_minute)
{
    struct principal_token tokens[] = {
        token_of("v", ROLE_VIEWER, TOKEN_VIEWER),
        token_of("r", ROLE_RUNNER, TOKEN_RUNNER),
        token_of("p", ROLE_PROBER, TOKEN_PROBER),
        token_of("a", ROLE_ADMIN, TOKEN_ADMIN),
    };
    struct principals_config c = {
        .own_uid = 990,
        .n_tokens = 4,
        .n_users = 3,
        .n_certificates = 3,
        .tokens = tokens,
        .users = users,
        .certificates = certificates,
        .requests_per_minute = requests_per_minute,
        .requests_burst = requests_per_minute,
    };
    struct principals *p = principals_open(&c);
    check_true(p != NULL);
    return p;
}

static struct httpd_peer tcp_peer(const char *ip)
{
    struct httpd_peer peer = {.is_tls = true};
    check_true(addr_parse(&peer.addr, ip) == 0);
    return peer;
}

static struct httpd_peer local_peer(uint32_t uid, uint32_t gid)
{
    return (struct httpd_peer){.is_local = true, .uid = uid, .gid = gid};
}

static void check_is(struct principals *p, const struct httpd_peer *peer,
                     const char *authorization, const char *name,
                     enum role role)
{
    struct principal who = {0};
    check_u64(principals_identify(p, SEC, peer, authorization, &who),
              IDENTIFY_OK);
    assert_string_equal(who.name, name);
    check_u64(who.role, role);
}

static void check_nobody(struct principals *p, uint64_t now_ns,
                         const struct httpd_peer *peer,
                         const char *authorization, enum identify_result want)
{
    struct principal who = {.name = "untouched", .role = ROLE_NONE};
    check_u64(principals_identify(p, now_ns, peer, authorization, &who), want);
    assert_string_equal(who.name, "untouched");
    check_u64(who.role, ROLE_NONE);
}

/* ---- roles ---- */

static void each_role_may_exactly_what_the_table_says(void **state)
{
    (void)state;
    static const bool table[][ACTION_N] = {
        /* read, known, other, own, any, reload, drain */
        [ROLE_NONE] = {0, 0, 0, 0, 0, 0, 0},
        [ROLE_VIEWER] = {1, 0, 0, 0, 0, 0, 0},
        [ROLE_RUNNER] = {1, 1, 0, 1, 0, 0, 0},
        [ROLE_PROBER] = {1, 1, 1, 1, 0, 0, 0},
        [ROLE_ADMIN] = {1, 1, 1, 1, 1, 1, 1},
    };
    check_u64(ACTION_N, 7);
    for (int role = ROLE_NONE; role <= ROLE_ADMIN; role++) {
        for (int action = 0; action < ACTION_N; action++)
            check_true(role_may((enum role)role, (enum control_action)action) ==
                       table[role][action]);
        check_false(role_may((enum role)role, ACTION_N));
    }
    check_false(role_may((enum role)(ROLE_ADMIN + 1), ACTION_READ));
    check_false(role_may((enum role) - 1, ACTION_READ));
}

static void role_names_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "viewer", "runner", "prober",
                                        "admin"};
    for (int r = ROLE_NONE; r <= ROLE_ADMIN; r++) {
        assert_string_equal(role_name((enum role)r), names[r]);
        check_true(role_parse(names[r]) == (r ? r : -1));
    }
    assert_string_equal(role_name((enum role)77), "none");
    static const char *const wrong[] = {"",       "Admin", "admin ", "adm",
                                        "admins", "root",  "1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        check_true(role_parse(wrong[i]) == -1);
}

/* ---- who it is ---- */

static void knows_users_of_the_unix_socket(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = local_peer(0, 0);
    check_is(p, &peer, NULL, "uid:0", ROLE_ADMIN);
    peer = local_peer(990, 990);
    check_is(p, &peer, NULL, "uid:990", ROLE_ADMIN);
    peer = local_peer(1001, 5);
    check_is(p, &peer, NULL, "uid:1001", ROLE_RUNNER);
    peer = local_peer(1002, 2000);
    check_is(p, &peer, NULL, "uid:1002", ROLE_VIEWER);
    /* A supplementary group, the last of many. */
    peer = local_peer(1003, 5);
    peer.n_groups = HTTPD_GROUPS_MAX;
    for (uint32_t i = 0; i < HTTPD_GROUPS_MAX; i++)
        peer.groups[i] = 100 + i;
    check_nobody(p, SEC, &peer, NULL, IDENTIFY_UNKNOWN);
    peer.groups[HTTPD_GROUPS_MAX - 1] = 2001;
    check_is(p, &peer, NULL, "uid:1003", ROLE_PROBER);
    /* A user's id is no group's, and the other way round. */
    peer = local_peer(2000, 1001);
    check_nobody(p, SEC, &peer, NULL, IDENTIFY_UNKNOWN);
    principals_close(p);
}

static void knows_certificates_by_their_names(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    peer.n_names = 1;
    strcpy(peer.names[0], "spiffe://example.org/ci");
    check_is(p, &peer, NULL, "cert:spiffe://example.org/ci", ROLE_RUNNER);
    strcpy(peer.names[0], "bob@example.org");
    check_is(p, &peer, NULL, "cert:bob@example.org", ROLE_VIEWER);
    peer.n_names = 3;
    strcpy(peer.names[1], "unknown.example.org");
    strcpy(peer.names[2], "oncall.example.org");
    check_is(p, &peer, NULL, "cert:oncall.example.org", ROLE_ADMIN);
    principals_close(p);
}

static void knows_tokens(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    check_is(p, &peer, "Bearer " TOKEN_VIEWER, "token:v", ROLE_VIEWER);
    check_is(p, &peer, "bearer " TOKEN_RUNNER, "token:r", ROLE_RUNNER);
    check_is(p, &peer, "BEARER " TOKEN_PROBER, "token:p", ROLE_PROBER);
    check_is(p, &peer, "BeArEr " TOKEN_ADMIN, "token:a", ROLE_ADMIN);
    peer = local_peer(4711, 4711); /* on the unix socket as well */
    check_is(p, &peer, "Bearer " TOKEN_RUNNER, "token:r", ROLE_RUNNER);
    principals_close(p);
}

static void of_several_ways_the_strongest_counts(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    peer.n_names = 1;
    strcpy(peer.names[0], "spiffe://example.org/ci");
    check_is(p, &peer, "Bearer " TOKEN_VIEWER, "cert:spiffe://example.org/ci",
             ROLE_RUNNER);
    check_is(p, &peer, "Bearer " TOKEN_ADMIN, "token:a", ROLE_ADMIN);
    peer = local_peer(1001, 2001); /* runner by user, prober by group */
    check_is(p, &peer, NULL, "uid:1001", ROLE_PROBER);
    check_is(p, &peer, "Bearer " TOKEN_ADMIN, "token:a", ROLE_ADMIN);
    /* Of equals the one that needs no secret. */
    check_is(p, &peer, "Bearer " TOKEN_PROBER, "uid:1001", ROLE_PROBER);
    principals_close(p);
}

/* Each of them on its own principals, so that none meets a lock-out. */
static void twelve_bad_identities_are_nobody(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Bearer wrong-token-0123456789abcdef",   /* unknown */
        "Bearer",                                /* nothing behind it */
        "Bearer ",                               /* still nothing */
        "Bearer  " TOKEN_ADMIN,                  /* two spaces */
        "Bearer\t" TOKEN_ADMIN,                  /* a tab */
        "Basic " TOKEN_ADMIN,                    /* another scheme */
        TOKEN_ADMIN,                             /* none */
        "Bearer " TOKEN_ADMIN " ",               /* something behind it */
        "Bearer " TOKEN_ADMIN "," TOKEN_VIEWER,  /* two of them */
        "Bearer admin-token-0123456789abcdef",   /* the front of one */
        "Bearer admin-token-0123456789ABCDEFG",  /* the wrong case */
        "Bearer=" TOKEN_ADMIN,                   /* not a header's form */
        "Bearer \xc3\xa4" TOKEN_ADMIN,           /* not ASCII */
        "Bearer sha256:0123456789abcdef0123456", /* not b64token */
    };
    struct httpd_peer peers[6] = {
        tcp_peer("10.0.0.1:5"), tcp_peer("10.0.0.1:5"), tcp_peer("10.0.0.1:5"),
        tcp_peer("10.0.0.1:5"), local_peer(1002, 1002), tcp_peer("10.0.0.1:5"),
    };
    /* No certificate; unknown; the front of one; one more letter; an unlisted
     * user; a name that was not shown over TLS. */
    peers[1].n_names = 1;
    strcpy(peers[1].names[0], "oncall.example.com");
    peers[2].n_names = 1;
    strcpy(peers[2].names[0], "oncall.example.or");
    peers[3].n_names = 1;
    strcpy(peers[3].names[0], "oncall.example.orgx");
    peers[5].n_names = 1;
    peers[5].is_tls = false;
    strcpy(peers[5].names[0], "oncall.example.org");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct principals *p = open_some(10);
        check_nobody(p, SEC, &peers[0], wrong[i], IDENTIFY_UNKNOWN);
        principals_close(p);
    }
    struct principals *p = open_some(10);
    for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++) {
        check_nobody(p, SEC, &peers[i], NULL, IDENTIFY_UNKNOWN);
        check_nobody(p, SEC, &peers[i], "", IDENTIFY_UNKNOWN);
    }
    struct principals_stats stats;
    principals_stats(p, &stats);
    check_u64(stats.wrong_tokens, 0); /* none was shown */
    principals_close(p);
}

/* A peer on TCP has no uid, whatever stands in the struct. */
static void ids_and_names_do_not_cross_over(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    peer.uid = 0; /* root's, by accident */
    check_nobody(p, SEC, &peer, NULL, IDENTIFY_UNKNOWN);
    peer = local_peer(1002, 1002);
    peer.n_names = 1;
    strcpy(peer.names[0], "oncall.example.org");
    check_nobody(p, SEC, &peer, NULL, IDENTIFY_UNKNOWN);
    principals_close(p);
}

static void bounds_the_length_of_tokens(void **state)
{
    (void)state;
    char text[7 + PRINCIPAL_TOKEN_MAX + 2] = "Bearer ";
    for (size_t len = 0; len <= PRINCIPAL_TOKEN_MAX + 1; len++) {
        memset(text + 7, 'x', len);
        text[7 + len] = '\0';
        bool is_good = len >= PRINCIPAL_TOKEN_MIN && len <= PRINCIPAL_TOKEN_MAX;
        check_true((principals_bearer(text) == text + 7) == is_good);
    }
    check_true(principals_bearer(NULL) == NULL);
    check_true(principals_bearer("") == NULL);
}

static void takes_the_characters_of_b64token_only(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char text[] = "Bearer 0123456789abcdef0123456789";
        bool is_good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                       (c >= 'A' && c <= 'Z') || strchr("-._~+/", c);
        text[20] = (char)c;
        check_true((principals_bearer(text) != NULL) == is_good);
        /* "=" at the end only. */
        text[20] = 'x';
        text[sizeof(text) - 2] = (char)c;
        check_true((principals_bearer(text) != NULL) == (is_good || c == '='));
    }
    check_true(principals_bearer("Bearer ========================") == NULL);
}

static void compares_every_token_whichever_fits(void **state)
{
    (void)state;
    static const char *const shown[] = {"Bearer " TOKEN_VIEWER,
                                        "Bearer " TOKEN_ADMIN,
                                        "Bearer wrong-token-0123456789abcdef"};
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    struct principals_stats stats;
    struct principal who;
    for (size_t i = 0; i < 3; i++) {
        principals_identify(p, SEC, &peer, shown[i], &who);
        principals_stats(p, &stats);
        check_u64(stats.compared, 4 * (i + 1));
    }
    principals_close(p);
}

/* ---- lock-out ---- */

static void five_wrong_tokens_lock_the_right_one_out(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("[2001:db8::1]:5");
    struct httpd_peer neighbour = tcp_peer("[2001:db8::2:1]:9");
    struct httpd_peer other = tcp_peer("[2001:db8:0:1::1]:5");
    struct principal who;
    for (int i = 0; i < 5; i++)
        check_nobody(p, SEC, &peer, "Bearer no", IDENTIFY_UNKNOWN);
    struct principals_stats before;
    struct principals_stats after;
    principals_stats(p, &before);
    check_nobody(p, SEC, &peer, "Bearer " TOKEN_ADMIN, IDENTIFY_LOCKED);
    check_nobody(p, 61 * SEC - 1, &neighbour, "Bearer " TOKEN_ADMIN,
                 IDENTIFY_LOCKED);
    principals_stats(p, &after);
    check_u64(after.compared, before.compared); /* not even looked at */
    check_u64(after.locked, 2);
    check_u64(after.wrong_tokens, 5);
    /* Without a token one is just unknown; another place is not locked. */
    check_nobody(p, SEC, &peer, NULL, IDENTIFY_UNKNOWN);
    check_is(p, &other, "Bearer " TOKEN_ADMIN, "token:a", ROLE_ADMIN);
    check_u64(
        principals_identify(p, 61 * SEC, &peer, "Bearer " TOKEN_ADMIN, &who),
        IDENTIFY_OK);
    principals_close(p);
}

static void a_lock_out_does_not_reach_certificates(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    for (int i = 0; i < 5; i++)
        check_nobody(p, SEC, &peer, "Bearer no", IDENTIFY_UNKNOWN);
    peer.n_names = 1;
    strcpy(peer.names[0], "bob@example.org");
    check_is(p, &peer, "Bearer " TOKEN_ADMIN, "cert:bob@example.org",
             ROLE_VIEWER);
    check_is(p, &peer, NULL, "cert:bob@example.org", ROLE_VIEWER);
    principals_close(p);
}

/* Whoever has a weak token could else guess at a strong one without end. */
static void a_right_token_does_not_wipe_out_wrong_ones(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    for (int i = 0; i < 5; i++) {
        check_is(p, &peer, "Bearer " TOKEN_VIEWER, "token:v", ROLE_VIEWER);
        check_nobody(p, SEC, &peer, "Bearer no", IDENTIFY_UNKNOWN);
    }
    check_nobody(p, SEC, &peer, "Bearer " TOKEN_VIEWER, IDENTIFY_LOCKED);
    principals_close(p);
}

static void users_of_the_unix_socket_are_locked_one_by_one(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer bad = local_peer(5000, 5000);
    struct httpd_peer good = local_peer(5001, 5001);
    for (int i = 0; i < 5; i++)
        check_nobody(p, SEC, &bad, "Bearer no", IDENTIFY_UNKNOWN);
    check_nobody(p, SEC, &bad, "Bearer " TOKEN_ADMIN, IDENTIFY_LOCKED);
    check_is(p, &good, "Bearer " TOKEN_ADMIN, "token:a", ROLE_ADMIN);
    principals_close(p);
}

/* ---- rates ---- */

static void each_principal_has_its_own_rate(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    struct principal a = {0};
    struct principal v = {0};
    principals_identify(p, SEC, &peer, "Bearer " TOKEN_ADMIN, &a);
    principals_identify(p, SEC, &peer, "Bearer " TOKEN_VIEWER, &v);
    check_true(a.key != v.key);
    for (int i = 0; i < 10; i++)
        check_true(principals_take_request(p, 100 * SEC, &a));
    check_false(principals_take_request(p, 100 * SEC, &a));
    check_false(principals_take_request(p, 106 * SEC - 1, &a));
    check_true(principals_take_request(p, 106 * SEC, &a));
    check_false(principals_take_request(p, 106 * SEC, &a));
    for (int i = 0; i < 10; i++)
        check_true(principals_take_request(p, 106 * SEC, &v));
    check_false(principals_take_request(p, 106 * SEC, &v));
    struct principals_stats stats;
    principals_stats(p, &stats);
    check_u64(stats.refused, 4);
    principals_close(p);
}

static void rates_are_bounded_and_not_reset_by_a_crowd(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct principal me = {.key = 7};
    for (int i = 0; i < 10; i++)
        check_true(principals_take_request(p, 100 * SEC, &me));
    unsigned n = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        struct principal other = {.key = 1000 + i};
        n += principals_take_request(p, 100 * SEC, &other);
    }
    check_u64(n, 511); /* what the table holds beside me */
    check_false(principals_take_request(p, 100 * SEC, &me));
    /* They are paid up after their one request's time. */
    struct principal other = {.key = 999999};
    check_false(principals_take_request(p, 106 * SEC - 1, &other));
    check_true(principals_take_request(p, 106 * SEC, &other));
    principals_close(p);
}

static void no_rate_means_no_requests(void **state)
{
    (void)state;
    struct principals *p = open_some(0);
    struct principal me = {.key = 7};
    check_false(principals_take_request(p, 100 * SEC, &me));
    struct principals_config c = {.requests_burst = 10};
    check_true(principals_reload(p, &c) == 0);
    check_false(principals_take_request(p, 100 * SEC, &me));
    /* One a minute, and more at once than time can tell. */
    c.requests_per_minute = 1;
    c.requests_burst = UINT_MAX;
    check_true(principals_reload(p, &c) == 0);
    for (int i = 0; i < 1000; i++)
        check_true(principals_take_request(p, 100 * SEC, &me));
    principals_close(p);
}

static void rates_and_locks_outlive_a_reload(void **state)
{
    (void)state;
    struct principals *p = open_some(10);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    struct httpd_peer other = tcp_peer("10.0.0.2:5");
    struct principal who = {0};
    principals_identify(p, SEC, &other, "Bearer " TOKEN_ADMIN, &who);
    for (int i = 0; i < 10; i++)
        principals_take_request(p, SEC, &who);
    for (int i = 0; i < 5; i++)
        check_nobody(p, SEC, &peer, "Bearer no", IDENTIFY_UNKNOWN);

    struct principal_token tokens[] = {
        token_of("new", ROLE_VIEWER, TOKEN_VIEWER),
        token_of("a", ROLE_RUNNER, TOKEN_ADMIN),
    };
    struct principals_config c = {.own_uid = 990,
                                  .n_tokens = 2,
                                  .tokens = tokens,
                                  .requests_per_minute = 10,
                                  .requests_burst = 10};
    check_true(principals_reload(p, &c) == 0);
    check_nobody(p, SEC, &peer, "Bearer " TOKEN_ADMIN, IDENTIFY_LOCKED);
    check_is(p, &other, "Bearer " TOKEN_ADMIN, "token:a", ROLE_RUNNER);
    check_is(p, &other, "Bearer " TOKEN_VIEWER, "token:new", ROLE_VIEWER);
    check_nobody(p, SEC, &other, "Bearer " TOKEN_RUNNER, IDENTIFY_UNKNOWN);
    struct httpd_peer user = local_peer(1001, 1001);
    check_nobody(p, SEC, &user, NULL, IDENTIFY_UNKNOWN);
    check_false(principals_take_request(p, SEC, &who));
    principals_close(p);
}

/* ---- the file of tokens ---- */

#define SUM_A "sha256:" SUM_REST "aa"
#define SUM_B "sha256:" SUM_REST "bb"
#define SUM_REST                                                   \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccdd" \
    "ee"

static struct principal_token read_into[PRINCIPALS_MAX];

static int read_text(const char *text, struct errmsg *msg)
{
    *msg = (struct errmsg){0};
    return principals_parse_tokens(text, strlen(text), read_into, msg);
}

static void reads_a_file_of_tokens(void **state)
{
    (void)state;
    struct errmsg msg;
    check_u64((uint64_t)read_text("# the team\n\n"
                                  "ci runner " SUM_A "\n"
                                  "  \t on.call-2_x\tadmin   " SUM_B " \r\n"
                                  "   # indented\n"
                                  "ci viewer sha256:" SUM_REST "CC",
                                  &msg),
              3);
    assert_string_equal(read_into[0].name, "ci");
    check_u64(read_into[0].role, ROLE_RUNNER);
    check_u64(read_into[0].sha256[1], 0x11);
    check_u64(read_into[0].sha256[31], 0xaa);
    assert_string_equal(read_into[1].name, "on.call-2_x");
    check_u64(read_into[1].role, ROLE_ADMIN);
    check_u64(read_into[2].sha256[31], 0xcc);
    check_u64((uint64_t)read_text("", &msg), 0);
    check_u64((uint64_t)read_text("\n\n#\n", &msg), 0);
}

static void check_bad(const char *text, const char *says)
{
    struct errmsg msg;
    int err = read_text(text, &msg);
    check_true(err == ERR_BAD);
    assert_string_equal(msg.text, says);
}

static void says_which_line_is_wrong_and_never_what_is_in_it(void **state)
{
    (void)state;
    static const char shape[] =
        "line 2: is not \"name role sha256:<64 hex digits>\"";
    static const char name[] = "line 1: the name must be 1 to 122 letters, "
                               "digits, '.', '_' or '-'";
    static const char role[] =
        "line 1: the role must be viewer, runner, prober or admin";
    static const char sum[] = "line 1: the token must be given as sha256: and "
                              "64 hexadecimal digits";
    check_bad("\nci\n", shape);
    check_bad("\nci admin\n", shape);
    check_bad("\nci admin " SUM_A " x\n", shape);
    check_bad("\nci admin " SUM_A " # x\n", shape);
    check_bad("c:i admin " SUM_A, name);
    check_bad("\xc3\xa4 admin " SUM_A, name);
    check_bad("ci Admin " SUM_A, role);
    check_bad("ci none " SUM_A, role);
    check_bad("ci adminadminadminadmin " SUM_A, role);
    check_bad("ci admin " TOKEN_ADMIN, sum);
    check_bad("ci admin sha256:" SUM_REST, sum);
    check_bad("ci admin " SUM_A "0", sum);
    check_bad("ci admin sha512:" SUM_REST "aa", sum);
    check_bad("a admin " SUM_A "\n\nb viewer " SUM_A "\n",
              "line 3: this token is there already");
}

static void bounds_names_lines_and_bytes(void **state)
{
    (void)state;
    struct errmsg msg;
    char line[512];
    char name[PRINCIPAL_LABEL_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[PRINCIPAL_LABEL_MAX] = '\0';
    snprintf(line, sizeof(line), "%s admin %s", name, SUM_A);
    check_u64((uint64_t)read_text(line, &msg), 1);
    name[PRINCIPAL_LABEL_MAX] = 'n';
    name[PRINCIPAL_LABEL_MAX + 1] = '\0';
    snprintf(line, sizeof(line), "%s admin %s", name, SUM_A);
    check_true(read_text(line, &msg) == ERR_BAD);

    char *text = calloc(1, 200000);
    size_t len = 0;
    for (unsigned i = 0; i < PRINCIPALS_MAX; i++)
        len += (size_t)sprintf(text + len, "n%u admin sha256:%s%02x\n", i,
                               SUM_REST, i);
    check_u64((uint64_t)read_text(text, &msg), PRINCIPALS_MAX);
    sprintf(text + len, "one admin sha256:%s", SUM_REST "aa");
    check_true(read_text(text, &msg) == ERR_TOOBIG);
    assert_string_equal(msg.text, "line 257: more than 256 tokens");
    memset(text, '\n', PRINCIPAL_FILE_MAX + 1);
    check_true(principals_parse_tokens(text, PRINCIPAL_FILE_MAX + 1, read_into,
                                       &msg) == ERR_TOOBIG);
    check_true(principals_parse_tokens(text, PRINCIPAL_FILE_MAX, read_into,
                                       &msg) == 0);
    free(text);
}

/* The names that principals are shown by, at their longest, fit. */
static void the_longest_names_fit(void **state)
{
    (void)state;
    char name[PRINCIPAL_LABEL_MAX + 1];
    memset(name, 'n', PRINCIPAL_LABEL_MAX);
    name[PRINCIPAL_LABEL_MAX] = '\0';
    struct principal_token token = token_of(name, ROLE_ADMIN, TOKEN_ADMIN);
    struct principals_config c = {.n_tokens = 1, .tokens = &token};
    struct principals *p = principals_open(&c);
    struct httpd_peer peer = tcp_peer("10.0.0.1:5");
    struct principal who = {0};
    check_u64(principals_identify(p, SEC, &peer, "Bearer " TOKEN_ADMIN, &who),
              IDENTIFY_OK);
    check_u64(strlen(who.name), PRINCIPAL_NAME_SIZE - 1);
    principals_close(p);
}

/* No flipped bit or cut of a good file makes anything but an error or other
 * good tokens. */
static void broken_files_break_nothing(void **state)
{
    (void)state;
    static const char good[] = "ci runner " SUM_A "\n# x\nb admin " SUM_B "\n";
    struct errmsg msg;
    for (size_t len = 0; len < sizeof(good); len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, good, len);
        copy[len] = '\0';
        int n = principals_parse_tokens(copy, len, read_into, &msg);
        check_true(n == ERR_BAD || (n >= 0 && n <= 2));
        for (size_t bit = 0; bit < 8 * len; bit++) {
            copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
            n = principals_parse_tokens(copy, len, read_into, &msg);
            check_true(n == ERR_BAD || (n >= 0 && n <= 3));
            for (int i = 0; i < n; i++)
                check_true(read_into[i].role >= ROLE_VIEWER &&
                           read_into[i].role <= ROLE_ADMIN);
            copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_may_exactly_what_the_table_says),
        cmocka_unit_test(role_names_round_trip),
        cmocka_unit_test(knows_users_of_the_unix_socket),
        cmocka_unit_test(knows_certificates_by_their_names),
        cmocka_unit_test(knows_tokens),
        cmocka_unit_test(of_several_ways_the_strongest_counts),
        cmocka_unit_test(twelve_bad_identities_are_nobody),
        cmocka_unit_test(ids_and_names_do_not_cross_over),
        cmocka_unit_test(bounds_the_length_of_tokens),
        cmocka_unit_test(takes_the_characters_of_b64token_only),
        cmocka_unit_test(compares_every_token_whichever_fits),
        cmocka_unit_test(five_wrong_tokens_lock_the_right_one_out),
        cmocka_unit_test(a_lock_out_does_not_reach_certificates),
        cmocka_unit_test(a_right_token_does_not_wipe_out_wrong_ones),
        cmocka_unit_test(users_of_the_unix_socket_are_locked_one_by_one),
        cmocka_unit_test(each_principal_has_its_own_rate),
        cmocka_unit_test(rates_are_bounded_and_not_reset_by_a_crowd),
        cmocka_unit_test(no_rate_means_no_requests),
        cmocka_unit_test(rates_and_locks_outlive_a_reload),
        cmocka_unit_test(reads_a_file_of_tokens),
        cmocka_unit_test(says_which_line_is_wrong_and_never_what_is_in_it),
        cmocka_unit_test(bounds_names_lines_and_bytes),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(broken_files_break_nothing),
    };
    return cmocka_run_group_tests_name("principals", tests, NULL, NULL);
}
