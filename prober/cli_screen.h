/* prober/cli_screen.h - a terminal that is drawn on in place.
 *
 * While open the terminal shows its alternate screen without a cursor; what
 * was there before comes back with cli_screen_close(), also when a signal ends
 * the program: SIGINT, SIGTERM, SIGHUP and SIGQUIT are taken as the wish to
 * end, Ctrl-Z gives the terminal back until the program goes on. A picture is
 * written in one piece that clears only what it does not cover, so nothing
 * flickers, and is cut to the terminal's height, so nothing scrolls.
 *
 * What is no such terminal (a pipe, TERM=dumb) gets one picture below the
 * other. Shell code; one per process, since signals are the process's.
 */
#ifndef PROBER_CLI_SCREEN_H
#define PROBER_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/cli_render.h"

struct cli_screen {
    int fd, signal_fd;
    bool is_in_place; /* else one below the other */
    bool is_shown;    /* the alternate screen is */
};

enum cli_screen_event {
    SCREEN_TIMEOUT,
    SCREEN_RESIZED, /* or on it again after Ctrl-Z: draw anew */
    SCREEN_ENDED,
};

/* Take over `fd`. `is_in_place` if it is fit for that and wanted. Returns 0 or
 * ERR_SYS. */
int cli_screen_open(struct cli_screen *s, int fd, bool is_in_place);
/* Give it back as it was. */
void cli_screen_close(struct cli_screen *s);

/* Show text of lines that end in newlines. Returns 0 or ERR_SYS. */
int cli_screen_draw(struct cli_screen *s, const struct render_style *style,
                    const char *text, size_t len);

/* Readable once there is something for cli_screen_wait() to take. */
int cli_screen_fd(const struct cli_screen *s);
/* Wait for a signal, but not longer than so. */
enum cli_screen_event cli_screen_wait(struct cli_screen *s, uint64_t ms);

/* The picture's bytes for a terminal of so many lines, 0: any. Pure. */
void cli_screen_picture(struct wr *w, unsigned lines, const char *text,
                        size_t len);

#endif /* PROBER_CLI_SCREEN_H */
