#include "prober/config_value.h"

#include <stdio.h>
#include <string.h>

#include "prober/config.h"
#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/digest.h"
#include "proto/outcome.h"
#include "proto/url.h"

#define UNIX_PATH_MAX 107 /* sun_path without its NUL */

struct unit {
    const char *name;
    uint64_t factor;
};

/* From large to small, the order in which a value is shown again. */
static const struct unit time_units[] = {
    {"h", 3600000000000},
    {"m", 60000000000},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
    {NULL, 0},
};
static const struct unit size_units[] = {
    {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10},
    {"B", 1},          {NULL, 0},
};

/* "250ms": digits, then one unit; no sign, blank or fraction. */
static int parse_units(const char *text, const struct unit *units,
                       uint64_t *value)
{
    uint64_t n = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
            return ERR_BAD;
    }
    if (c == text)
        return ERR_BAD;
    while (units->name && strcmp(units->name, c) != 0)
        units++;
    if (!units->name || __builtin_mul_overflow(n, units->factor, &n))
        return ERR_BAD;
    *value = n;
    return 0;
}

int config_parse_duration(const char *text, uint64_t *ns)
{
    return parse_units(text, time_units, ns);
}

int config_parse_size(const char *text, uint64_t *bytes)
{
    return parse_units(text, size_units, bytes);
}

/* In the largest unit that leaves no rest. */
static void show_units(uint64_t value, const struct unit *units, char *text,
                       size_t size)
{
    while (value % units->factor)
        units++;
    snprintf(text, size, "%llu%s", (unsigned long long)(value / units->factor),
             units->name);
}

/* A refused value, the way it was written. Returns ERR_BAD. */
static int refuse(struct errmsg *why, const char *text, const char *wanted)
{
    char shown[CONFIG_SHOWN_SIZE];
    errmsg_set(why, "must be %s, not \"%s\"", wanted,
               config_shown(text, shown));
    return ERR_BAD;
}

static int store_text(const struct config_key *key, const char *text, void *at,
                      struct errmsg *why)
{
    size_t len = strlen(text);
    if (len >= key->size) {
        errmsg_set(why, "is %zu bytes long, at most %zu are allowed", len,
                   key->size - 1);
        return ERR_BAD;
    }
    memcpy(at, text, len + 1);
    return 0;
}

/* Not isalnum(): that one would follow the locale. */
static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

static bool is_made_of(const char *text, const char *extra)
{
    for (; *text; text++) {
        if (!is_alphanumeric(*text) && !strchr(extra, *text))
            return false;
    }
    return true;
}

static bool is_path(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

int config_value_name(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    if (!*text || !is_made_of(text, "._-"))
        return refuse(why, text, "letters, digits, '.', '_' or '-'");
    return store_text(key, text, at, why);
}

int config_value_service(const struct config_key *key, const char *text,
                         bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    if (!is_made_of(text, "._-/"))
        return refuse(why, text, "letters, digits, '.', '_', '-' or '/'");
    return store_text(key, text, at, why);
}

int config_value_path(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    if (!is_path(text))
        return refuse(why, text, "the path of a file");
    return store_text(key, text, at, why);
}

int config_value_host(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    if (!url_is_host(text))
        return refuse(why, text, "a host name or address without a port");
    return store_text(key, text, at, why);
}

/* "ip:port", or an address alone, which gets `port`. */
static int parse_address(struct addr *a, const char *text, uint16_t port)
{
    if (addr_parse(a, text) == 0)
        return 0;
    if (addr_parse_ip(a, text))
        return ERR_BAD;
    a->port = port;
    return 0;
}

int config_value_listen(const struct config_key *key, const char *text,
                        bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    char any[80];
    struct addr a;
    /* ":7443" stands for all addresses of both families. */
    int n = snprintf(any, sizeof(any), "[::]%s", text);
    bool is_short = text[0] == ':' && n > 0 && (size_t)n < sizeof(any);
    if (!(is_short && addr_parse(&a, any) == 0) &&
        parse_address(&a, text, key->port))
        return refuse(why, text, "an address such as 127.0.0.1:7443 or :7443");
    memcpy(at, &a, sizeof(a));
    return 0;
}

int config_value_address(const struct config_key *key, const char *text,
                         bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    struct addr a;
    if (parse_address(&a, text, key->port) || a.port == 0)
        return refuse(why, text, "an IP address, with or without a port");
    memcpy(at, &a, sizeof(a));
    return 0;
}

int config_value_advertise(const struct config_key *key, const char *text,
                           bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    /* Loopback too: meshes on one machine. */
    static const struct addr_policy policy = {.allows_loopback = true};
    struct addr a;
    if (parse_address(&a, text, key->port))
        return refuse(why, text, "an IP address, with or without a port");
    struct addr with_port = a;
    with_port.port = 1; /* 0 stands for that of gossip.listen */
    if (addr_policy_check(&policy, &with_port) != ADDR_ALLOWED)
        return refuse(why, text, "an address at which others reach this node");
    memcpy(at, &a, sizeof(a));
    return 0;
}

int config_value_network(const struct config_key *key, const char *text,
                         bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    struct addr_network n;
    if (addr_network_parse(&n, text))
        return refuse(why, text,
                      "a network (10.0.0.0/8, no bits behind the prefix) or "
                      "an address");
    memcpy(at, &n, sizeof(n));
    return 0;
}

static int parse_port(const char *text)
{
    int port = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] || *text == '0')
        return ERR_BAD;
    for (; *text; text++)
        port = port * 10 + (*text - '0');
    return port <= UINT16_MAX ? port : ERR_BAD;
}

static bool is_host_and_port(const char *text)
{
    char host[URL_HOST_MAX + 1];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    return !strchr(host, ':') && url_is_host(host) && parse_port(colon + 1) > 0;
}

int config_value_endpoint(const struct config_key *key, const char *text,
                          bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    struct addr a;
    bool is_address = parse_address(&a, text, 1) == 0 && a.port != 0;
    if (!is_address && !is_host_and_port(text) &&
        (strchr(text, ':') || !url_is_host(text)))
        return refuse(why, text, "a host or address, with or without a port");
    return store_text(key, text, at, why);
}

static bool is_unix_socket(const char *text)
{
    static const char prefix[] = "unix:";
    size_t n = sizeof(prefix) - 1;
    return strlen(text) <= n + UNIX_PATH_MAX && is_path(text) &&
           strncmp(text, prefix, n) == 0 && text[n] == '/';
}

int config_value_control(const struct config_key *key, const char *text,
                         bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    struct addr a;
    if (!is_unix_socket(text) && strcmp(text, "off") != 0 &&
        (addr_parse(&a, text) || a.port == 0))
        return refuse(why, text,
                      "unix:/path (at most 107 bytes), an address with a port, "
                      "or off");
    return store_text(key, text, at, why);
}

/* Written as the address is printed, so that the same are equal. */
int config_value_single(const struct config_key *key, const char *text,
                        bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    char shown[ADDR_TEXT_SIZE];
    struct addr a;
    if (addr_parse_ip(&a, text))
        return refuse(why, text, "a single address: no network, no name");
    return store_text(key, addr_format_ip(&a, shown), at, why);
}

int config_value_port(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    int port = is_quoted ? ERR_BAD : parse_port(text);
    if (port < 1)
        return refuse(why, text, "a port, 1 to 65535 without quotes");
    uint16_t value = (uint16_t)port;
    memcpy(at, &value, sizeof(value));
    return 0;
}

int config_value_mode(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    bool is_shared = strcmp(text, "0660") == 0;
    if (!is_shared && strcmp(text, "0600") != 0)
        return refuse(why, text, "0600 or 0660");
    uint32_t mode = is_shared ? 0660 : 0600;
    memcpy(at, &mode, sizeof(mode));
    return 0;
}

/* The names and numbers are those of enum role, which a test holds to. */
int config_value_role(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    static const char *const names[] = {"viewer", "runner", "prober", "admin"};
    (void)key;
    (void)is_quoted;
    for (uint8_t i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            uint8_t role = i + 1;
            memcpy(at, &role, sizeof(role));
            return 0;
        }
    }
    return refuse(why, text, "viewer, runner, prober or admin");
}

int config_value_san(const struct config_key *key, const char *text,
                     bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    size_t len = strlen(text);
    for (const char *c = text; *c; c++)
        len = *c > 0x20 && *c < 0x7f ? len : 0;
    if (len == 0 || len > key->max)
        return refuse(why, text,
                      "a name as it stands in a certificate, at most 122 "
                      "printable characters without blanks");
    return store_text(key, text, at, why);
}

/* "10.0.0.0/8". Set bits behind the prefix are more often a slip than
 * meant, so they are refused. */
static bool is_cidr(const char *text)
{
    char ip[ADDR_TEXT_SIZE];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(ip))
        return false;
    memcpy(ip, text, (size_t)(slash - text));
    ip[slash - text] = '\0';

    struct addr a;
    if (addr_parse_ip(&a, ip))
        return false;
    int bits = strcmp(slash, "/0") == 0 ? 0 : parse_port(slash + 1);
    int width = a.family == ADDR_V4 ? 32 : 128;
    if (bits < 0 || bits > width)
        return false;
    for (int i = bits; i < width; i++) {
        if (a.ip[i / 8] & (0x80 >> i % 8))
            return false;
    }
    return true;
}

int config_value_allow(const struct config_key *key, const char *text,
                       bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    struct addr a;
    const char *host = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
    /* Behind "*." stands a name, not an address. */
    bool is_pattern =
        url_is_host(host) && (host == text || addr_parse_ip(&a, host) != 0);
    if (!is_cidr(text) && !is_pattern && addr_parse_ip(&a, text))
        return refuse(why, text,
                      "a network (10.0.0.0/8, no bits behind the prefix), "
                      "an address, a host or *.domain");
    return store_text(key, text, at, why);
}

int config_value_url(const struct config_key *key, const char *text,
                     bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    struct url u;
    struct errmsg reason = {0};
    if (url_parse(&u, text, &reason)) {
        errmsg_set(why, "is not a URL to probe: %s", reason.text);
        return ERR_BAD;
    }
    memcpy(at, &u, sizeof(u));
    return 0;
}

static int check_range(const struct config_key *key, uint64_t value,
                       const char *text, const struct unit *units,
                       struct errmsg *why)
{
    char shown[CONFIG_SHOWN_SIZE];
    char bound[32];
    if (value >= key->min && value <= key->max)
        return 0;
    bool is_low = value < key->min;
    show_units(is_low ? key->min : key->max, units, bound, sizeof(bound));
    errmsg_set(why, "is %s, the %s is %s", config_shown(text, shown),
               is_low ? "least allowed" : "most allowed", bound);
    return ERR_BAD;
}

static int value_with_unit(const struct config_key *key, const char *text,
                           const struct unit *units, const char *wanted,
                           void *at, struct errmsg *why)
{
    uint64_t value;
    if (parse_units(text, units, &value))
        return refuse(why, text, wanted);
    int rc = check_range(key, value, text, units, why);
    if (rc == 0)
        memcpy(at, &value, sizeof(value));
    return rc;
}

int config_value_duration(const struct config_key *key, const char *text,
                          bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    return value_with_unit(key, text, time_units,
                           "a whole number and one unit of ns us ms s m h", at,
                           why);
}

int config_value_size(const struct config_key *key, const char *text,
                      bool is_quoted, void *at, struct errmsg *why)
{
    (void)is_quoted;
    return value_with_unit(key, text, size_units,
                           "a whole number and one unit of B KiB MiB GiB", at,
                           why);
}

int config_value_count(const struct config_key *key, const char *text,
                       bool is_quoted, void *at, struct errmsg *why)
{
    static const struct unit plain[] = {{"", 1}, {NULL, 0}};
    uint64_t value;
    bool is_octal = text[0] == '0' && text[1];
    if (is_quoted || is_octal || parse_units(text, plain, &value))
        return refuse(why, text, "a whole number without quotes");
    int rc = check_range(key, value, text, plain, why);
    if (rc == 0) {
        uint32_t count = (uint32_t)value;
        memcpy(at, &count, sizeof(count));
    }
    return rc;
}

int config_value_ip(const struct config_key *key, const char *text,
                    bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    if (is_quoted || (strcmp(text, "4") != 0 && strcmp(text, "6") != 0))
        return refuse(why, text, "4 or 6");
    unsigned family = *text == '4' ? 4 : 6;
    memcpy(at, &family, sizeof(family));
    return 0;
}

int config_value_yes(const struct config_key *key, const char *text,
                     bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    bool is_yes = strcmp(text, "true") == 0;
    if (is_quoted || (!is_yes && strcmp(text, "false") != 0))
        return refuse(why, text, "true or false without quotes");
    memcpy(at, &is_yes, sizeof(is_yes));
    return 0;
}

int config_value_no(const struct config_key *key, const char *text,
                    bool is_quoted, void *at, struct errmsg *why)
{
    bool is_yes = false;
    int err = config_value_yes(key, text, is_quoted, &is_yes, why);
    bool is_no = !is_yes;
    if (!err)
        memcpy(at, &is_no, sizeof(is_no));
    return err;
}

int config_value_level(const struct config_key *key, const char *text,
                       bool is_quoted, void *at, struct errmsg *why)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    (void)key;
    (void)is_quoted;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            enum config_log_level level = (enum config_log_level)i;
            memcpy(at, &level, sizeof(level));
            return 0;
        }
    }
    return refuse(why, text, "error, warn, info or debug");
}

int config_value_is_json(const struct config_key *key, const char *text,
                         bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    bool is_json = strcmp(text, "json") == 0;
    if (!is_json && strcmp(text, "text") != 0)
        return refuse(why, text, "text or json");
    memcpy(at, &is_json, sizeof(is_json));
    return 0;
}

int config_value_protocol(const struct config_key *key, const char *text,
                          bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    int protocol = protocol_parse(text);
    if (protocol < 0)
        return refuse(why, text, "http1 or grpc");
    unsigned bit = 1u << protocol;
    memcpy(at, &bit, sizeof(bit));
    return 0;
}

int config_value_protocols_word(const struct config_key *key, const char *text,
                                bool is_quoted, void *at, struct errmsg *why)
{
    unsigned both = 1u << PROTOCOL_HTTP1 | 1u << PROTOCOL_GRPC;
    if (strcmp(text, "both") == 0) {
        memcpy(at, &both, sizeof(both));
        return 0;
    }
    if (config_value_protocol(key, text, is_quoted, at, NULL))
        return refuse(why, text, "http1, grpc or both");
    return 0;
}

int config_value_fingerprint(const struct config_key *key, const char *text,
                             bool is_quoted, void *at, struct errmsg *why)
{
    (void)key;
    (void)is_quoted;
    uint8_t sum[32];
    if (digest_parse(text, sum))
        return refuse(why, text, "sha256: and 64 hexadecimal digits");
    memcpy(at, sum, sizeof(sum));
    return 0;
}
