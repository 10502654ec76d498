/* prober/config_value.h - readers of single values, for config tables.
 *
 * Each is a config_scalar_fn: text in, typed member out, or a reason that
 * completes the sentence "<key> ...". Pure. What `at` points to stands beside
 * each; min, max, size and port come from the table's key.
 */
#ifndef PROBER_CONFIG_VALUE_H
#define PROBER_CONFIG_VALUE_H

#include "prober/config_bind.h"

config_scalar_fn config_value_name;      /* char[size]: A-Z a-z 0-9 . _ - */
config_scalar_fn config_value_service;   /* the same and '/', may be empty */
config_scalar_fn config_value_path;      /* char[size], no control characters */
config_scalar_fn config_value_host;      /* char[size], name or address */
config_scalar_fn config_value_listen;    /* struct addr; ":port" is [::] */
config_scalar_fn config_value_address;   /* struct addr, key->port if none */
config_scalar_fn config_value_advertise; /* struct addr, others can reach it */
config_scalar_fn config_value_network;   /* struct addr_network */
config_scalar_fn config_value_endpoint;  /* char[size]: host, with a port */
config_scalar_fn
    config_value_control;             /* char[size]: unix:/path, address, off */
config_scalar_fn config_value_allow;  /* char[size]: CIDR or host pattern */
config_scalar_fn config_value_single; /* char[size]: one address, no port */
config_scalar_fn config_value_port;   /* uint16_t, 1.. */
config_scalar_fn config_value_mode;   /* uint32_t: 0600 or 0660 */
config_scalar_fn config_value_role;   /* uint8_t, enum role */
config_scalar_fn config_value_san;    /* char[size]: a subjectAltName */
config_scalar_fn config_value_url;    /* struct url */
config_scalar_fn config_value_duration; /* uint64_t, ns */
config_scalar_fn config_value_size;     /* uint64_t, bytes */
config_scalar_fn config_value_count;    /* uint32_t */
config_scalar_fn config_value_ip;       /* unsigned, 4 or 6 */
config_scalar_fn config_value_yes;      /* bool */
config_scalar_fn config_value_no;       /* bool, true for the word "false" */
config_scalar_fn config_value_level;    /* enum config_log_level */
config_scalar_fn config_value_is_json;  /* bool: text or json */
config_scalar_fn config_value_protocol; /* unsigned, one bit */
config_scalar_fn config_value_protocols_word; /* unsigned, http1 grpc both */
config_scalar_fn config_value_fingerprint;    /* uint8_t[32] */

#endif /* PROBER_CONFIG_VALUE_H */
