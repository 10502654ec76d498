#include "prober/reflection.h"

#include <stdbool.h>

#include "proto/base/err.h"
#include "proto/grpc.h"
#include "proto/pb.h"

/* Field numbers, of google/protobuf/descriptor.proto ... */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    MESSAGE_MESSAGE = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
    ANY_NAME = 1, /* of file, message, enum, service and method */
};

/* ... and of proto/reflection_v1.proto. */
enum {
    ASK_HOST = 1,
    ASK_FILE = 3,
    ASK_SYMBOL = 4,
    ASK_EXTENSION = 5,
    ASK_EXTENSIONS_OF = 6,
    ASK_SERVICES = 7,
    TELL_HOST = 1,
    TELL_ASKED = 2,
    TELL_FILES = 4,
    TELL_EXTENSIONS = 5,
    TELL_SERVICES = 6,
    TELL_ERROR = 7,
};

#define TELL_MAX 65536 /* of one part of an answer */

struct question {
    uint32_t kind; /* ASK_FILE .. ASK_SERVICES, 0: none */
    struct span text;
    struct span host;
};

/* ---- descriptors ---- */

/* The next nested message or text that has this number. Descriptors are our
 * own and well formed; where they were not, they would just end. */
static bool next_part(struct rd *r, uint32_t number, struct span *out)
{
    for (struct pb_field f; pb_next(r, &f);) {
        if (f.number == number && f.type == PB_BYTES) {
            *out = span_of(f.data, f.len);
            return true;
        }
    }
    return false;
}

static struct span first_part(struct span message, uint32_t number)
{
    struct rd r;
    struct span part = {0};
    rd_init(&r, message.data, message.len);
    next_part(&r, number, &part);
    return part;
}

/* The part of this kind with this name. */
static bool find_named(struct span in, uint32_t number, struct span name,
                       struct span *out)
{
    struct rd r;
    rd_init(&r, in.data, in.len);
    while (next_part(&r, number, out)) {
        if (span_equal(first_part(*out, ANY_NAME), name))
            return true;
    }
    return false;
}

/* Split off what stands before the first dot. */
static struct span take_label(struct span *path)
{
    const uint8_t *dot =
        path->len > 0 ? memchr(path->data, '.', path->len) : NULL;
    size_t n = dot ? (size_t)(dot - path->data) : path->len;
    struct span label = {path->data, n};
    size_t skip = dot ? n + 1 : n;
    path->data = skip > 0 ? path->data + skip : path->data;
    path->len -= skip;
    return label;
}

/* A service or a method of it. */
static bool has_service(struct span file, struct span path)
{
    struct span service, method;
    if (!find_named(file, FILE_SERVICE, take_label(&path), &service))
        return false;
    return path.len == 0 || find_named(service, SERVICE_METHOD, path, &method);
}

/* A message or an enum, at the top or in a message. */
static bool has_type(struct span file, struct span path)
{
    struct span at = file, found;
    uint32_t messages = FILE_MESSAGE, enums = FILE_ENUM;
    while (path.len > 0) {
        struct span label = take_label(&path);
        if (path.len == 0 && find_named(at, enums, label, &found))
            return true;
        if (!find_named(at, messages, label, &found))
            return false;
        at = found;
        messages = MESSAGE_MESSAGE;
        enums = MESSAGE_ENUM;
    }
    return true;
}

/* `symbol` without the file's package in front; empty: is not in it. */
static struct span below_package(struct span file, struct span symbol)
{
    struct span package = first_part(file, FILE_PACKAGE);
    if (symbol.len <= package.len + 1 || symbol.data[package.len] != '.' ||
        !span_equal(span_of(symbol.data, package.len), package))
        return (struct span){0};
    return span_of(symbol.data + package.len + 1, symbol.len - package.len - 1);
}

static bool is_name(struct span s)
{
    return s.len > 0 && s.len <= REFLECTION_NAME_MAX &&
           s.data[s.len - 1] != '.';
}

static bool find_symbol(struct span set, struct span symbol, bool types_only,
                        struct span *file)
{
    struct rd r;
    if (!is_name(symbol))
        return false;
    rd_init(&r, set.data, set.len);
    while (next_part(&r, SET_FILE, file)) {
        struct span path = below_package(*file, symbol);
        if (path.len == 0)
            continue;
        if (has_type(*file, path) || (!types_only && has_service(*file, path)))
            return true;
    }
    return false;
}

/* ---- answers ---- */

static void tell_error(struct wr *w, enum grpc_status status, const char *text)
{
    uint8_t bytes[128];
    struct wr part;
    wr_init_fixed(&part, bytes, sizeof(bytes));
    pb_write_varint(&part, 1, status);
    pb_write_bytes(&part, 2, text, strlen(text));
    pb_write_bytes(w, TELL_ERROR, part.data, part.len);
}

static void tell_file(struct wr *w, struct span file)
{
    struct wr part;
    wr_init_grow(&part, TELL_MAX);
    pb_write_bytes(&part, 1, file.data, file.len);
    if (wr_err(&part))
        w->err = wr_err(&part);
    else
        pb_write_bytes(w, TELL_FILES, part.data, part.len);
    wr_fini(&part);
}

/* ServiceResponse{name}, in a ListServiceResponse. */
static void tell_service(struct wr *list, struct span package,
                         struct span service)
{
    uint8_t bytes[512], message[520];
    struct wr name, part;
    struct span label = first_part(service, ANY_NAME);
    wr_init_fixed(&name, bytes, sizeof(bytes));
    wr_bytes(&name, package.data, package.len);
    wr_u8(&name, '.');
    wr_bytes(&name, label.data, label.len);
    wr_init_fixed(&part, message, sizeof(message));
    pb_write_bytes(&part, 1, name.data, name.len);
    pb_write_bytes(list, 1, part.data, part.len);
}

static void tell_services(struct wr *w, struct span set)
{
    struct rd files;
    struct wr list;
    struct span file;
    wr_init_grow(&list, TELL_MAX);
    rd_init(&files, set.data, set.len);
    while (next_part(&files, SET_FILE, &file)) {
        struct span package = first_part(file, FILE_PACKAGE);
        struct rd services;
        struct span service;
        rd_init(&services, file.data, file.len);
        while (next_part(&services, FILE_SERVICE, &service))
            tell_service(&list, package, service);
    }
    if (wr_err(&list))
        w->err = wr_err(&list);
    else
        pb_write_bytes(w, TELL_SERVICES, list.data, list.len);
    wr_fini(&list);
}

static void tell_no_extensions(struct wr *w, struct span type)
{
    uint8_t bytes[REFLECTION_NAME_MAX + 8];
    struct wr part;
    wr_init_fixed(&part, bytes, sizeof(bytes));
    pb_write_bytes(&part, 1, type.data, type.len);
    pb_write_bytes(w, TELL_EXTENSIONS, part.data, part.len);
}

static void answer(struct wr *w, struct span set, const struct question *q)
{
    struct span file;
    switch (q->kind) {
    case ASK_FILE:
        if (find_named(set, SET_FILE, q->text, &file))
            tell_file(w, file);
        else
            tell_error(w, GRPC_NOT_FOUND, "no such file");
        return;
    case ASK_SYMBOL:
        if (find_symbol(set, q->text, false, &file))
            tell_file(w, file);
        else
            tell_error(w, GRPC_NOT_FOUND, "no such symbol");
        return;
    case ASK_EXTENSION:
        tell_error(w, GRPC_NOT_FOUND, "there are no extensions");
        return;
    case ASK_EXTENSIONS_OF:
        if (find_symbol(set, q->text, true, &file))
            tell_no_extensions(w, q->text);
        else
            tell_error(w, GRPC_NOT_FOUND, "no such type");
        return;
    case ASK_SERVICES:
        tell_services(w, set);
        return;
    default:
        tell_error(w, GRPC_INVALID_ARGUMENT, "nothing was asked");
    }
}

/* Of a oneof that is there several times the last one counts. */
static int read_question(struct span request, struct question *q)
{
    struct rd r;
    rd_init(&r, request.data, request.len);
    *q = (struct question){0};
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.type != PB_BYTES)
            continue;
        if (f.number == ASK_HOST) {
            q->host = span_of(f.data, f.len);
        } else if (f.number >= ASK_FILE && f.number <= ASK_SERVICES) {
            q->kind = f.number;
            q->text = span_of(f.data, f.len);
        }
    }
    return rd_err(&r);
}

int reflection_answer(struct span descriptors, struct span request,
                      struct wr *w)
{
    struct question q;
    int err = read_question(request, &q);
    if (err)
        return err;
    if (q.host.len > 0)
        pb_write_bytes(w, TELL_HOST, q.host.data, q.host.len);
    pb_write_bytes(w, TELL_ASKED, request.data, request.len);
    answer(w, descriptors, &q);
    return 0;
}
