/* prober/tcp_info.h - what the kernel knows of a TCP connection (TCP_INFO).
 *
 * A file of its own because <linux/tcp.h>, which has the newer fields, and
 * <netinet/tcp.h>, which libuv includes, cannot meet in one.
 */
#ifndef PROBER_TCP_INFO_H
#define PROBER_TCP_INFO_H

#include <stdbool.h>
#include <stdint.h>

struct tcp_facts {
    bool is_established;  /* the handshake is over */
    uint32_t rtt_us;      /* SYN to SYN-ACK if read before sending */
    uint32_t retransmits; /* segments sent again, the SYN included */
    uint32_t last_ack_ms; /* since the last ACK came in, jiffy grain */
    uint32_t segs_in;     /* segments received, and those of them with data;
                           * 0 on kernels before 4.6 */
    uint32_t data_segs_in;
};

/* Returns 0 or a negative errno. */
int tcp_facts_read(int fd, struct tcp_facts *facts);

#endif /* PROBER_TCP_INFO_H */
