/* A libcrypto for clients that knows only the certificate keys TLS uses.
 *
 * OpenSSL 3.0 parses the public key of every certificate it receives by
 * building a chain of decoders: all forty of the default provider are walked,
 * constructed and sorted out again, each time, 70 of some 500 us of a
 * handshake. It offers no way around, but the number can be made smaller: a
 * built-in provider that is the default one, function by function, except that
 * of its decoders it shows the five for DER public keys. OpenSSL 3.2 keeps
 * the decoders it chose, so from there on the plain library is used.
 */
#include "proto/tls_private.h"

#include <string.h>

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/provider.h>

#define DECODERS_MAX 8
#define OPENSSL_3_2  0x30200000ul

static const char *const keys[] = {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"};
#define N_KEYS (sizeof(keys) / sizeof(*keys))

/* Filled once, constant from then on, for all contexts and threads: a library
 * takes 280 KiB, and has locks of its own. It cannot travel in the provider's
 * context, because the default provider's functions expect theirs there. */
static struct {
    CRYPTO_ONCE once;
    OSSL_PROVIDER *base;
    OSSL_LIB_CTX *library; /* NULL: do without */
    OSSL_ALGORITHM decoders[DECODERS_MAX + 1];
} lean = {.once = CRYPTO_ONCE_STATIC_INIT};

static bool is_needed(const OSSL_ALGORITHM *a)
{
    if (!strstr(a->property_definition, "input=der") ||
        !strstr(a->property_definition, "structure=SubjectPublicKeyInfo"))
        return false;
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(a->algorithm_names, keys[i]) == 0)
            return true;
    }
    return false;
}

static const OSSL_ALGORITHM *query(void *context, int operation,
                                   int *is_uncached)
{
    (void)context;
    *is_uncached = 0;
    if (operation == OSSL_OP_DECODER)
        return lean.decoders;
    return OSSL_PROVIDER_query_operation(lean.base, operation, is_uncached);
}

static int get_capabilities(void *context, const char *capability,
                            OSSL_CALLBACK *callback, void *arg)
{
    (void)context;
    return OSSL_PROVIDER_get_capabilities(lean.base, capability, callback, arg);
}

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                const OSSL_DISPATCH **out, void **context)
{
    static const OSSL_DISPATCH ours[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities},
        {0, NULL},
    };

    (void)handle;
    (void)in;
    *out = ours;
    *context = OSSL_PROVIDER_get0_provider_ctx(lean.base);
    return 1;
}

/* The default provider's decoders that we keep. Returns how many. */
static size_t choose_decoders(void)
{
    int is_uncached = 0;
    const OSSL_ALGORITHM *a =
        OSSL_PROVIDER_query_operation(lean.base, OSSL_OP_DECODER, &is_uncached);
    size_t n = 0;

    for (; a && a->algorithm_names && n < DECODERS_MAX; a++) {
        if (is_needed(a))
            lean.decoders[n++] = *a;
    }
    return n;
}

static void fill_once(void)
{
    /* Where the administrator replaced the default provider (FIPS), that
     * stands. */
    if (OpenSSL_version_num() >= OPENSSL_3_2 ||
        OSSL_PROVIDER_available(NULL, "default") != 1)
        return;
    lean.base = OSSL_PROVIDER_load(NULL, "default");
    /* Anything else than one decoder a key is an OpenSSL we do not know. */
    if (!lean.base || choose_decoders() != N_KEYS)
        return;

    OSSL_LIB_CTX *l = OSSL_LIB_CTX_new();
    if (l && OSSL_PROVIDER_add_builtin(l, "prober", init) == 1 &&
        OSSL_PROVIDER_load(l, "prober"))
        lean.library = l;
    else
        OSSL_LIB_CTX_free(l);
}

OSSL_LIB_CTX *tls_lean_library(void)
{
    if (!CRYPTO_THREAD_run_once(&lean.once, fill_once))
        return NULL;
    return lean.library;
}
