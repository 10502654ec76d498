/* Whatever is accepted is a host that is valid by itself, a port and a path,
 * and its authority parses again. */
#include "proto/url.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096];
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    url_is_host(text);

    struct url u;
    struct errmsg msg = {""};
    int err = url_parse(&u, text, &msg);
    assert(!err == !msg.text[0]);
    if (err)
        return 0;
    assert(url_is_host(u.host));
    assert(u.port > 0);
    assert(u.path[0] == '/');

    static const char *const names[] = {"http", "https", "grpc", "grpcs"};
    char authority[URL_AUTHORITY_SIZE];
    char again[URL_AUTHORITY_SIZE + URL_PATH_MAX + 16];
    url_authority(&u, authority);
    snprintf(again, sizeof(again), "%s://%s%s", names[u.scheme], authority,
             u.path);
    struct url v;
    err = url_parse(&v, again, NULL);
    assert(!err);
    assert(!strcmp(u.host, v.host));
    assert(!strcmp(u.path, v.path));
    assert(u.port == v.port);
    return 0;
}
