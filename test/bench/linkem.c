/* test/bench/linkem.c - a link of chosen length, for tests and the demo.
 *
 * usage: linkem IFA IFB [OPTION...]
 *
 * Carries every Ethernet frame that arrives on IFA out of IFB, and back, each
 * through a queue that holds it until it is due:
 *
 *     due = arrival + delay + uniform(-jitter, +jitter), never before the
 *           frame ahead of it (a link does not reorder)
 *
 * IFA and IFB are the near ends of two veth pairs. Many kernels come without
 * netem; a packet socket they all have. The arrival is the kernel's receive
 * stamp, so a late wake-up of ours delays a frame only if the wake-up comes
 * after the frame was due. Frames travel with their offload header
 * (PACKET_VNET_HDR): what the sender's stack left for a network card to do,
 * checksums and segmentation, is left for the receiver's stack to accept.
 *
 * Only IP is delayed, lost and counted. ARP passes, so that a test of loss
 * does not become a test of address resolution.
 *
 * SIGUSR1 closes the link for IP both ways, SIGUSR2 opens it again.
 * SIGTERM and SIGINT end the program, which then prints what it did as JSON.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

/* A GSO frame is at most 64 KiB and its headers. */
#define FRAME_SIZE   (sizeof(struct virtio_net_hdr) + 65536 + 128)
#define QUEUE_MAX    16384 /* frames that one direction may hold */
#define BATCH_MAX    64    /* frames read before the other side has its turn */
#define DROPS_MAX    64    /* entries of one --drop list */
#define LATE_BUCKETS 21    /* lateness by powers of two of a microsecond */

struct frame {
    uint64_t due_ns;
    size_t len;
    uint8_t *bytes;
};

/* One way across. `ring` is in order of due_ns, as nothing overtakes. */
struct way {
    int from_fd, to_fd;
    uint64_t delay_ns, jitter_ns;
    double loss; /* 0..1 */
    size_t n_drops;
    uint64_t drops[DROPS_MAX]; /* the Nth IP frames that vanish, from 1 */
    struct frame ring[QUEUE_MAX];
    size_t head, n;
    uint64_t last_due_ns;
    uint64_t frames, lost, overflowed, failed;
};

struct link {
    struct way ways[2]; /* [0] IFA to IFB */
    uint64_t random;    /* xorshift64 state */
    uint64_t spin_ns;   /* before a frame is due, wait awake this long */
    bool is_realtime;
    bool is_closed;
    uint64_t late[LATE_BUCKETS];
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "linkem: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Uniform in [0, 1). */
static double dice(struct link *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (double)(l->random >> 11) * 0x1p-53;
}

/* ---- sockets ---------------------------------------------------------- */

static void set_option(int fd, int level, int name, int value, const char *text)
{
    if (setsockopt(fd, level, name, &value, sizeof(value)))
        die(text);
}

static int open_interface(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("packet socket");
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(name),
    };
    if (!address.sll_ifindex)
        die(name);

    set_option(fd, SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
    set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1,
               "PACKET_IGNORE_OUTGOING");
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
    set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20, "SO_RCVBUFFORCE");
    set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20, "SO_SNDBUFFORCE");
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
        die("bind");

    /* Frames are addressed to the far host, not to the interface. */
    struct packet_mreq all = {.mr_ifindex = address.sll_ifindex,
                              .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
        die("promiscuous mode");
    return fd;
}

static uint64_t arrival_ns(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec t;
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    }
    return wall_ns();
}

static void send_frame(struct way *w, const uint8_t *bytes, size_t len)
{
    /* The far end's queue may be full for a moment; a frame that still does
     * not fit after a millisecond is one that a real link would drop too. */
    struct pollfd room = {.fd = w->to_fd, .events = POLLOUT};
    for (int tries = 0; tries < 3; tries++) {
        if (send(w->to_fd, bytes, len, 0) >= 0)
            return;
        if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
            break;
        poll(&room, 1, 1);
    }
    w->failed++;
}

/* ---- one way ---------------------------------------------------------- */

static bool is_ip(const uint8_t *bytes, size_t len)
{
    size_t at = sizeof(struct virtio_net_hdr) + 2 * ETH_ALEN;
    if (len < at + 2)
        return false;
    unsigned type = (unsigned)bytes[at] << 8 | bytes[at + 1];
    return type == ETH_P_IP || type == ETH_P_IPV6;
}

static bool is_lost(struct link *l, const struct way *w)
{
    for (size_t i = 0; i < w->n_drops; i++) {
        if (w->drops[i] == w->frames)
            return true;
    }
    return w->loss > 0 && dice(l) < w->loss;
}

static uint64_t due_ns(struct link *l, struct way *w, uint64_t arrived_ns)
{
    uint64_t due = arrived_ns + w->delay_ns;
    if (w->jitter_ns) {
        /* Jitter is at most the delay, so this stays above the arrival. */
        due -= w->jitter_ns;
        due += (uint64_t)(dice(l) * 2 * (double)w->jitter_ns);
    }
    if (due < w->last_due_ns)
        due = w->last_due_ns;
    w->last_due_ns = due;
    return due;
}

static void enqueue(struct link *l, struct way *w, const uint8_t *bytes,
                    size_t len, uint64_t arrived_ns)
{
    if (w->n == QUEUE_MAX) {
        w->overflowed++;
        return;
    }
    uint8_t *copy = malloc(len);
    if (!copy) {
        w->overflowed++;
        return;
    }
    memcpy(copy, bytes, len);
    w->ring[(w->head + w->n++) % QUEUE_MAX] = (struct frame){
        .due_ns = due_ns(l, w, arrived_ns), .len = len, .bytes = copy};
}

static void read_frames(struct link *l, struct way *w)
{
    static uint8_t bytes[FRAME_SIZE];
    union {
        char room[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr align;
    } control;

    for (int i = 0; i < BATCH_MAX; i++) {
        struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(w->from_fd, &m, 0);
        if (got < 0)
            return;
        size_t len = (size_t)got;
        if (!is_ip(bytes, len)) {
            send_frame(w, bytes, len);
            continue;
        }
        w->frames++;
        if (l->is_closed || is_lost(l, w))
            w->lost++;
        else
            enqueue(l, w, bytes, len, arrival_ns(&m));
    }
}

static void count_lateness(struct link *l, uint64_t late_ns)
{
    size_t i = 0;
    for (uint64_t us = late_ns / NS_PER_US; us && i < LATE_BUCKETS - 1; i++)
        us >>= 1;
    l->late[i]++;
}

static void send_due(struct link *l, struct way *w)
{
    for (uint64_t now = wall_ns(); w->n; now = wall_ns()) {
        struct frame *f = &w->ring[w->head];
        if (f->due_ns > now)
            return;
        count_lateness(l, now - f->due_ns);
        send_frame(w, f->bytes, f->len);
        free(f->bytes);
        w->head = (w->head + 1) % QUEUE_MAX;
        w->n--;
    }
}

/* ---- the loop --------------------------------------------------------- */

/* How long until something is due, less the time to be spent awake. */
static struct timespec patience(const struct link *l)
{
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        const struct way *w = &l->ways[i];
        if (w->n && w->ring[w->head].due_ns < next_ns)
            next_ns = w->ring[w->head].due_ns;
    }
    if (next_ns == UINT64_MAX)
        return (struct timespec){.tv_sec = 3600};
    uint64_t now = wall_ns() + l->spin_ns;
    uint64_t wait_ns = next_ns > now ? next_ns - now : 0;
    return (struct timespec){.tv_sec = (time_t)(wait_ns / NS_PER_S),
                             .tv_nsec = (long)(wait_ns % NS_PER_S)};
}

/* Whoever started us or sent a signal may wait for the line that says that
 * it is so from the next frame on. */
static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static int open_signals(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGUSR1);
    sigaddset(&ours, SIGUSR2);
    sigprocmask(SIG_BLOCK, &ours, NULL);
    int fd = signalfd(-1, &ours, SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd");
    return fd;
}

/* Returns false when it is time to go. */
static bool obey(struct link *l, int signal_fd)
{
    struct signalfd_siginfo signal;
    if (read(signal_fd, &signal, sizeof(signal)) != sizeof(signal))
        die("signalfd");
    if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT)
        return false;
    l->is_closed = signal.ssi_signo == SIGUSR1;
    say(l->is_closed ? "linkem closed" : "linkem open");
    return true;
}

static void run(struct link *l)
{
    struct pollfd fds[] = {{.fd = l->ways[0].from_fd, .events = POLLIN},
                           {.fd = l->ways[1].from_fd, .events = POLLIN},
                           {.fd = open_signals(), .events = POLLIN}};
    say("linkem ready");
    for (;;) {
        struct timespec wait = patience(l);
        if (ppoll(fds, 3, &wait, NULL) < 0 && errno != EINTR)
            die("ppoll");
        if (fds[2].revents && !obey(l, fds[2].fd))
            return;
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents)
                read_frames(l, &l->ways[i]);
            send_due(l, &l->ways[i]);
        }
    }
}

/* Upper bound in microseconds below which `share` of the frames were. */
static uint64_t lateness_us(const struct link *l, double share)
{
    uint64_t all = 0, sum = 0;
    for (size_t i = 0; i < LATE_BUCKETS; i++)
        all += l->late[i];
    for (size_t i = 0; i < LATE_BUCKETS; i++) {
        sum += l->late[i];
        if ((double)sum >= share * (double)all)
            return (uint64_t)1 << i;
    }
    return 0;
}

static void report(const struct link *l)
{
    static const char *const names[] = {"ab", "ba"};
    printf("{");
    for (int i = 0; i < 2; i++) {
        const struct way *w = &l->ways[i];
        printf("\"%s\":{\"frames\":%" PRIu64 ",\"lost\":%" PRIu64
               ",\"overflowed\":%" PRIu64 ",\"failed\":%" PRIu64 "},",
               names[i], w->frames, w->lost, w->overflowed, w->failed);
    }
    printf("\"late_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64
           ",\"max\":%" PRIu64 "}}\n",
           lateness_us(l, 0.5), lateness_us(l, 0.99), lateness_us(l, 1));
}

/* ---- the command line ------------------------------------------------- */

static _Noreturn void usage(const char *why)
{
    fprintf(stderr,
            "linkem: %s\n"
            "usage: linkem IFA IFB [OPTION...]\n"
            "  --delay MS  --jitter MS  --loss PERCENT   both ways, or with\n"
            "  --delay-ab, --jitter-ba, ...              one way (A to B)\n"
            "  --drop-ab N[,N...]  lose the Nth IP frame of a way, from 1\n"
            "  --closed            start as a black hole (SIGUSR2 opens)\n"
            "  --seed N            of the dice (default: differs every time)\n"
            "  --realtime          SCHED_FIFO, and memory locked\n"
            "  --spin US           wait awake just before a frame is due (0)\n",
            why);
    exit(2);
}

static double number(const char *text, double max)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= 0 && x <= max))
        usage(text);
    return x;
}

static void parse_drops(struct way *w, const char *text)
{
    for (const char *at = text;; at++) {
        char *end;
        uint64_t nth = strtoull(at, &end, 10);
        if (end == at || (*end && *end != ',') || w->n_drops == DROPS_MAX)
            usage(text);
        w->drops[w->n_drops++] = nth;
        if (!*end)
            return;
        at = end;
    }
}

enum option_kind { DELAY, JITTER, LOSS, DROP, CLOSED, SEED, REALTIME, SPIN };

/* An option's value is its kind and, in the lower bits, whose it is. */
#define BOTH(kind) ((kind) << 2 | 3)
#define AB(kind)   ((kind) << 2 | 1)
#define BA(kind)   ((kind) << 2 | 2)

static const struct option options[] = {
    {"delay", required_argument, NULL, BOTH(DELAY)},
    {"delay-ab", required_argument, NULL, AB(DELAY)},
    {"delay-ba", required_argument, NULL, BA(DELAY)},
    {"jitter", required_argument, NULL, BOTH(JITTER)},
    {"jitter-ab", required_argument, NULL, AB(JITTER)},
    {"jitter-ba", required_argument, NULL, BA(JITTER)},
    {"loss", required_argument, NULL, BOTH(LOSS)},
    {"loss-ab", required_argument, NULL, AB(LOSS)},
    {"loss-ba", required_argument, NULL, BA(LOSS)},
    {"drop-ab", required_argument, NULL, AB(DROP)},
    {"drop-ba", required_argument, NULL, BA(DROP)},
    {"closed", no_argument, NULL, BOTH(CLOSED)},
    {"seed", required_argument, NULL, BOTH(SEED)},
    {"realtime", no_argument, NULL, BOTH(REALTIME)},
    {"spin", required_argument, NULL, BOTH(SPIN)},
    {NULL, 0, NULL, 0},
};

static void apply_to_way(struct way *w, enum option_kind kind)
{
    if (kind == DELAY)
        w->delay_ns = (uint64_t)(number(optarg, 60e3) * NS_PER_MS);
    else if (kind == JITTER)
        w->jitter_ns = (uint64_t)(number(optarg, 60e3) * NS_PER_MS);
    else if (kind == LOSS)
        w->loss = number(optarg, 100) / 100;
    else if (kind == DROP)
        parse_drops(w, optarg);
}

static void apply_to_link(struct link *l, enum option_kind kind)
{
    if (kind == CLOSED)
        l->is_closed = true;
    else if (kind == SEED)
        l->random = (uint64_t)number(optarg, 1e15) * 0x9e3779b97f4a7c15u | 1;
    else if (kind == REALTIME)
        l->is_realtime = true;
    else if (kind == SPIN)
        l->spin_ns = (uint64_t)(number(optarg, 1e3) * NS_PER_US);
}

static void parse(struct link *l, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == '?')
            usage("unknown option");
        enum option_kind kind = (enum option_kind)(c >> 2);
        for (int i = 0; i < 2; i++) {
            if (c & (1 << i))
                apply_to_way(&l->ways[i], kind);
        }
        apply_to_link(l, kind);
    }
    for (int i = 0; i < 2; i++) {
        if (l->ways[i].jitter_ns > l->ways[i].delay_ns)
            usage("jitter is more than delay");
    }
    if (argc - optind != 2)
        usage("two interfaces are needed");
}

int main(int argc, char **argv)
{
    static struct link l;
    if (getrandom(&l.random, sizeof(l.random), 0) < 0)
        die("getrandom");
    l.random |= 1; /* the one state that xorshift cannot leave is 0 */
    parse(&l, argc, argv);

    int a = open_interface(argv[optind]), b = open_interface(argv[optind + 1]);
    l.ways[0].from_fd = l.ways[1].to_fd = a;
    l.ways[1].from_fd = l.ways[0].to_fd = b;

    /* Sleep to the nanosecond asked for, not to the default 50 us. */
    prctl(PR_SET_TIMERSLACK, 1);
    /* A test bed that is killed outright should not leave us behind. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sched_param priority = {.sched_priority = 10};
    if (l.is_realtime && (sched_setscheduler(0, SCHED_FIFO, &priority) ||
                          mlockall(MCL_CURRENT | MCL_FUTURE)))
        die("real-time scheduling");

    run(&l);
    report(&l);
    return 0;
}
