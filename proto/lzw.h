/* proto/lzw.h - the LZW of memberlist's compress message.
 *
 * GIF's flavour: codes of 9 to 12 bits, least significant bit first, 256
 * clears the table, 257 ends the stream. Byte for byte what Go's compress/lzw
 * writes with 8-bit literals (the exact steps stand in lzw.c). A stream can
 * expand about 1,350-fold, so the decoder stops at the writer's limit while it
 * expands, not afterwards. No allocation but the writer's. Pure.
 */
#ifndef PROTO_LZW_H
#define PROTO_LZW_H

#include <stddef.h>

#include "proto/base/buf.h"

/* Append the compressed form of `len` bytes. Errors are the writer's. */
void lzw_encode(const void *data, size_t len, struct wr *out);

/* Append what `len` compressed bytes stand for. Returns 0; ERR_TRUNC if they
 * end before the end code; ERR_BAD for a code that means nothing yet;
 * ERR_TOOBIG when the writer's limit is reached, ERR_NOMEM. After an error
 * *out is as long as it was. Bytes behind the end code are ignored, as the
 * peers do. */
int lzw_decode(const void *data, size_t len, struct wr *out);

#endif /* PROTO_LZW_H */
