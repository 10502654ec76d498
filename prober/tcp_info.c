#include "prober/tcp_info.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* From the kernel's include/net/tcp_states.h, not exported to user space. */
enum { STATE_SYN_SENT = 2, STATE_CLOSE = 7 };

int tcp_facts_read(int fd, struct tcp_facts *facts)
{
    struct tcp_info ti = {0};
    socklen_t len = sizeof(ti);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len))
        return -errno;
    *facts = (struct tcp_facts){
        .is_established =
            ti.tcpi_state != STATE_SYN_SENT && ti.tcpi_state != STATE_CLOSE,
        .rtt_us = ti.tcpi_rtt,
        .retransmits = ti.tcpi_total_retrans,
        .last_ack_ms = ti.tcpi_last_ack_recv,
        .segs_in = ti.tcpi_segs_in,
        .data_segs_in = ti.tcpi_data_segs_in,
    };
    return 0;
}
