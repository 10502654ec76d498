/* proto/base/crc32.h - CRC-32 as Ethernet, zip and memberlist have it.
 *
 * Reflected polynomial 0xedb88320, all ones before and after (ISO 3309).
 * Detects accidents, not attackers. Pure.
 */
#ifndef PROTO_BASE_CRC32_H
#define PROTO_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_of(const void *data, size_t len);

#endif /* PROTO_BASE_CRC32_H */
