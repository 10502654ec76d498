#include "prober/cli_screen.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "prober/cli.h"
#include "proto/base/err.h"

#define PICTURE_BYTES_MAX (256u << 20)

/* The alternate screen, no cursor, long lines cut and not wrapped, for those
 * would scroll; and back. */
static const char enter[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char leave[] = "\033[0m\033[?7h\033[?25h\033[?1049l";

static void show(struct cli_screen *s, bool is_shown)
{
    if (!s->is_in_place || s->is_shown == is_shown)
        return;
    s->is_shown = is_shown;
    if (is_shown)
        cli_write(s->fd, enter, sizeof(enter) - 1);
    else
        cli_write(s->fd, leave, sizeof(leave) - 1);
}

static void fill_signals(sigset_t *set)
{
    static const int numbers[] = {SIGINT,  SIGTERM,  SIGHUP,
                                  SIGQUIT, SIGWINCH, SIGTSTP};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(set, numbers[i]);
}

/* Signals come as a readable descriptor, so that both waits, for an answer
 * and between two of them, end at once, and none comes in between. */
int cli_screen_open(struct cli_screen *s, int fd, bool is_in_place)
{
    sigset_t set;

    *s = (struct cli_screen){.fd = fd, .is_in_place = is_in_place};
    fill_signals(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return ERR_SYS;
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0)
        return ERR_SYS;
    show(s, true);
    return 0;
}

void cli_screen_close(struct cli_screen *s)
{
    show(s, false);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    s->signal_fd = -1;
}

void cli_screen_picture(struct wr *w, unsigned lines, const char *text,
                        size_t len)
{
    const char *end = text + len;

    wr_text(w, "\033[H");
    for (unsigned n = 1; text < end; n++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        bool is_last = n == lines;
        if (is_last && stop + 1 < end) { /* not the last of the text */
            wr_text(w, "... the terminal is too low for the rest\033[K");
            break;
        }
        wr_bytes(w, text, (size_t)(stop - text));
        wr_text(w, "\033[K");
        /* A newline in the last line would scroll. */
        if (!is_last)
            wr_text(w, "\r\n");
        text = newline ? newline + 1 : end;
    }
    wr_text(w, "\033[J");
}

int cli_screen_draw(struct cli_screen *s, const struct render_style *style,
                    const char *text, size_t len)
{
    struct wr w;

    if (!s->is_in_place)
        return cli_write(s->fd, text, len);
    wr_init_grow(&w, PICTURE_BYTES_MAX);
    cli_screen_picture(&w, style->lines, text, len);
    int err = wr_err(&w) ? ERR_SYS : cli_write(s->fd, w.data, w.len);
    wr_fini(&w);
    return err;
}

int cli_screen_fd(const struct cli_screen *s)
{
    return s->signal_fd;
}

/* Stop here; SIGCONT is what goes on. */
static void stop_until_continued(struct cli_screen *s)
{
    show(s, false);
    raise(SIGSTOP);
    show(s, true);
}

enum cli_screen_event cli_screen_wait(struct cli_screen *s, uint64_t ms)
{
    struct pollfd fd = {.fd = s->signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;

    if (poll(&fd, 1, ms > INT_MAX ? INT_MAX : (int)ms) <= 0)
        return SCREEN_TIMEOUT;
    if (read(s->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return SCREEN_TIMEOUT;
    if (info.ssi_signo == SIGTSTP) {
        stop_until_continued(s);
        return SCREEN_RESIZED;
    }
    return info.ssi_signo == SIGWINCH ? SCREEN_RESIZED : SCREEN_ENDED;
}
