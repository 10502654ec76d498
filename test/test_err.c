#include "proto/base/err.h"

#include <limits.h>
#include <string.h>

#include "test/check.h"

static void every_code_has_its_name(void **state)
{
    (void)state;
    check_text(err_name(0), "ok");
    check_text(err_name(ERR_NOMEM), "nomem");
    check_text(err_name(ERR_TRUNC), "trunc");
    check_text(err_name(ERR_BAD), "bad");
    check_text(err_name(ERR_TOOBIG), "toobig");
    check_text(err_name(ERR_AUTH), "auth");
    check_text(err_name(ERR_BUSY), "busy");
    check_text(err_name(ERR_CLOSED), "closed");
    check_text(err_name(ERR_SYS), "sys");
    check_text(err_name(ERR_SYS - 1), "unknown");
    check_text(err_name(1), "unknown");
    check_text(err_name(INT_MIN), "unknown");
}

static void messages_are_wrapped_outward(void **state)
{
    (void)state;
    struct errmsg msg;
    errmsg_set(&msg, "port %d is out of range", 70000);
    errmsg_wrap(&msg, "target %d", 3);
    errmsg_wrap(&msg, "config %s", "prober.yaml");
    check_text(msg.text,
               "config prober.yaml: target 3: port 70000 is out of range");
}

static void nobody_asking_is_fine(void **state)
{
    (void)state;
    errmsg_set(NULL, "x %d", 1);
    errmsg_wrap(NULL, "x %d", 1);
}

static void long_text_is_cut_at_every_length(void **state)
{
    (void)state;
    char text[2 * ERRMSG_SIZE];
    for (size_t len = 0; len < sizeof(text); len++) {
        struct errmsg msg;
        memset(text, 'a', len);
        memset(text + len, 0, sizeof(text) - len);
        errmsg_set(&msg, "%s", text);
        size_t want = len < ERRMSG_SIZE ? len : ERRMSG_SIZE - 1;
        check_u64(strlen(msg.text), want);

        errmsg_wrap(&msg, "bb");
        want = want + 4 < ERRMSG_SIZE ? want + 4 : ERRMSG_SIZE - 1;
        check_u64(strlen(msg.text), want);
        check_true(!strncmp(msg.text, "bb: ", 4));
        if (len > 0)
            check_true(msg.text[strlen(msg.text) - 1] == 'a');

        errmsg_set(&msg, "inner");
        errmsg_wrap(&msg, "%s", text);
        want = len + 7 < ERRMSG_SIZE ? len + 7 : ERRMSG_SIZE - 1;
        check_u64(strlen(msg.text), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(messages_are_wrapped_outward),
        cmocka_unit_test(nobody_asking_is_fine),
        cmocka_unit_test(long_text_is_cut_at_every_length),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
