/* prober/cli_token.h - "prober keygen --token": one new token for the control
 * port. */
#ifndef PROBER_CLI_TOKEN_H
#define PROBER_CLI_TOKEN_H

#include <stdbool.h>

/* Make a token of 32 random bytes for `name` with `role` (as text), and print
 * it on stdout. Its line goes to the end of `file`, which is made with mode
 * 0600 if need be, or to stderr if that is NULL; with `is_json` both are in
 * one object on stdout. Returns an enum cli_exit. */
int cli_token(const char *name, const char *role, const char *file,
              bool is_json);

#endif /* PROBER_CLI_TOKEN_H */
