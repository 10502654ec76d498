#include "test/torture/faults_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ares.h>
#include <jansson.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <uv.h>

#define HERE __builtin_return_address(0)

static bool is_refused(const char *what)
{
    if (!faults_strike(FAULT_MEMORY, what))
        return false;
    errno = ENOMEM;
    return true;
}

/* ---- ours: --wrap ---- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
char *__wrap_strndup(const char *text, size_t n);
void __real_free(void *p);
void __wrap_free(void *p);
int __wrap_asprintf(char **to, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **to, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int __real_vasprintf(char **to, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **to, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __wrap___vasprintf_chk(char **to, int flag, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));

void *__wrap_malloc(size_t size)
{
    return is_refused("malloc") ? NULL
                                : faults_note(__real_malloc(size), size, HERE);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return is_refused("calloc")
               ? NULL
               : faults_note(__real_calloc(n, size), n * size, HERE);
}

static void *renew(void *p, size_t size, const void *site)
{
    void *now = __real_realloc(p, size);
    if (now || size == 0)
        faults_forget(p);
    return faults_note(now, size, site);
}

void *__wrap_realloc(void *p, size_t size)
{
    return is_refused("realloc") ? NULL : renew(p, size, HERE);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (is_refused("reallocarray"))
        return NULL;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL
                                                   : renew(p, bytes, HERE);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return is_refused("aligned_alloc")
               ? NULL
               : faults_note(__real_aligned_alloc(align, size), size, HERE);
}

char *__wrap_strdup(const char *text)
{
    return is_refused("strdup")
               ? NULL
               : faults_note(__real_strdup(text), strlen(text) + 1, HERE);
}

char *__wrap_strndup(const char *text, size_t n)
{
    return is_refused("strndup")
               ? NULL
               : faults_note(__real_strndup(text, n), n, HERE);
}

void __wrap_free(void *p)
{
    faults_forget(p);
    __real_free(p);
}

static int print(char **to, const char *format, va_list ap, const void *site)
    __attribute__((format(printf, 2, 0)));

/* On failure *to is not defined; a pointer that nobody may use says so. */
static int print(char **to, const char *format, va_list ap, const void *site)
{
    if (is_refused("asprintf")) {
        memset(to, 0x55, sizeof(*to));
        return -1;
    }
    int n = __real_vasprintf(to, format, ap);
    if (n >= 0)
        faults_note(*to, (size_t)n + 1, site);
    return n;
}

int __wrap_vasprintf(char **to, const char *format, va_list ap)
{
    return print(to, format, ap, HERE);
}

int __wrap___vasprintf_chk(char **to, int flag, const char *format, va_list ap)
{
    (void)flag;
    return print(to, format, ap, HERE);
}

int __wrap_asprintf(char **to, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = print(to, format, ap, HERE);
    va_end(ap);
    return n;
}

int __wrap___asprintf_chk(char **to, int flag, const char *format, ...)
{
    va_list ap;
    (void)flag;
    va_start(ap, format);
    int n = print(to, format, ap, HERE);
    va_end(ap);
    return n;
}

/* ---- libraries: their hooks ---- */

static void *lib_malloc(size_t size)
{
    return is_refused("malloc of a library")
               ? NULL
               : faults_note(__real_malloc(size), size, HERE);
}

static void *lib_calloc(size_t n, size_t size)
{
    return is_refused("calloc of a library")
               ? NULL
               : faults_note(__real_calloc(n, size), n * size, HERE);
}

static void *lib_realloc(void *p, size_t size)
{
    return is_refused("realloc of a library") ? NULL : renew(p, size, HERE);
}

static void lib_free(void *p)
{
    faults_forget(p);
    __real_free(p);
}

/* Which never fails; see exempt[]. */
static void *uv_realloc(void *p, size_t size)
{
    return renew(p, size, HERE);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_refused("malloc of OpenSSL") ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_refused("realloc of OpenSSL") ? NULL : __real_realloc(p, size);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    __real_free(p);
}

static void *h2_malloc(size_t size, void *arg)
{
    (void)arg;
    return lib_malloc(size);
}

static void *h2_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return lib_calloc(n, size);
}

static void *h2_realloc(void *p, size_t size, void *arg)
{
    (void)arg;
    return renew(p, size, HERE);
}

static void h2_free(void *p, void *arg)
{
    (void)arg;
    lib_free(p);
}

static nghttp2_mem h2_mem = {NULL, h2_malloc, h2_free, h2_calloc, h2_realloc};

int __wrap_nghttp2_session_client_new2(nghttp2_session **out,
                                       const nghttp2_session_callbacks *cb,
                                       void *user, const nghttp2_option *o);
int __wrap_nghttp2_session_server_new2(nghttp2_session **out,
                                       const nghttp2_session_callbacks *cb,
                                       void *user, const nghttp2_option *o);

int __wrap_nghttp2_session_client_new2(nghttp2_session **out,
                                       const nghttp2_session_callbacks *cb,
                                       void *user, const nghttp2_option *o)
{
    return nghttp2_session_client_new3(out, cb, user, o, &h2_mem);
}

int __wrap_nghttp2_session_server_new2(nghttp2_session **out,
                                       const nghttp2_session_callbacks *cb,
                                       void *user, const nghttp2_option *o)
{
    return nghttp2_session_server_new3(out, cb, user, o, &h2_mem);
}

void faults_install_memory(void)
{
    int is_set =
        CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
    assert(is_set == 1);
    int rc = uv_replace_allocator(lib_malloc, uv_realloc, lib_calloc, lib_free);
    assert(rc == 0);
    rc = ares_library_init_mem(ARES_LIB_INIT_ALL, lib_malloc, lib_free,
                               lib_realloc);
    assert(rc == 0);
    json_set_alloc_funcs(lib_malloc, lib_free);
    (void)is_set, (void)rc;
}
