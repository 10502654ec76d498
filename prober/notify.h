/* prober/notify.h - telling the service manager how we are.
 *
 * The protocol of sd_notify(3): assignments in one datagram to the unix socket
 * that NOTIFY_SOCKET names. Without that variable nothing is sent. Shell code,
 * never blocks.
 */
#ifndef PROBER_NOTIFY_H
#define PROBER_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=...". Returns 0, also if nobody listens for it; ERR_BAD for
 * an address that is none; ERR_SYS. */
int notify_send(const char *state);

/* Within what time the manager wants to hear "WATCHDOG=1"; 0: it does not. */
uint64_t notify_watchdog_ns(void);

/* Before a new configuration is read: "RELOADING=1" with the time, as
 * Type=notify-reload wants it. READY=1 ends it. */
int notify_reloading(uint64_t monotonic_ns);

#endif /* PROBER_NOTIFY_H */
