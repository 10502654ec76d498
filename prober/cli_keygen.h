/* prober/cli_keygen.h - "prober keygen": one new key for gossip, or
 * one new token for the control port. */
#ifndef PROBER_CLI_KEYGEN_H
#define PROBER_CLI_KEYGEN_H

/* Print a key of 32 random bytes in base64, or a token (cli_token.h). argv[0]
 * is the subcommand. Returns an enum cli_exit. */
int cli_keygen(int argc, char **argv);

#endif /* PROBER_CLI_KEYGEN_H */
