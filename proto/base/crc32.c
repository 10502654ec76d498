#include "proto/base/crc32.h"

/* A byte's remainder is linear in its bits, so eight constants make a table of
 * 256. Table k holds the remainders of a byte that k more bytes follow: four
 * bytes are then folded at a time (Kounavis and Berry, "slicing", 2005), some
 * three times as fast as one by one. */
#define BIT(n, i, x) ((((n) >> (i)) & 1u) ? (x) : 0u)

#define TABLE_0(n)                                     \
    (BIT(n, 0, 0x77073096u) ^ BIT(n, 1, 0xee0e612cu) ^ \
     BIT(n, 2, 0x076dc419u) ^ BIT(n, 3, 0x0edb8832u) ^ \
     BIT(n, 4, 0x1db71064u) ^ BIT(n, 5, 0x3b6e20c8u) ^ \
     BIT(n, 6, 0x76dc4190u) ^ BIT(n, 7, 0xedb88320u))
#define TABLE_1(n)                                     \
    (BIT(n, 0, 0x191b3141u) ^ BIT(n, 1, 0x32366282u) ^ \
     BIT(n, 2, 0x646cc504u) ^ BIT(n, 3, 0xc8d98a08u) ^ \
     BIT(n, 4, 0x4ac21251u) ^ BIT(n, 5, 0x958424a2u) ^ \
     BIT(n, 6, 0xf0794f05u) ^ BIT(n, 7, 0x3b83984bu))
#define TABLE_2(n)                                     \
    (BIT(n, 0, 0x01c26a37u) ^ BIT(n, 1, 0x0384d46eu) ^ \
     BIT(n, 2, 0x0709a8dcu) ^ BIT(n, 3, 0x0e1351b8u) ^ \
     BIT(n, 4, 0x1c26a370u) ^ BIT(n, 5, 0x384d46e0u) ^ \
     BIT(n, 6, 0x709a8dc0u) ^ BIT(n, 7, 0xe1351b80u))
#define TABLE_3(n)                                     \
    (BIT(n, 0, 0xb8bc6765u) ^ BIT(n, 1, 0xaa09c88bu) ^ \
     BIT(n, 2, 0x8f629757u) ^ BIT(n, 3, 0xc5b428efu) ^ \
     BIT(n, 4, 0x5019579fu) ^ BIT(n, 5, 0xa032af3eu) ^ \
     BIT(n, 6, 0x9b14583du) ^ BIT(n, 7, 0xed59b63bu))

#define TIMES_4(t, n) t(n), t((n) + 1u), t((n) + 2u), t((n) + 3u)
#define TIMES_16(t, n)                                         \
    TIMES_4(t, n), TIMES_4(t, (n) + 4u), TIMES_4(t, (n) + 8u), \
        TIMES_4(t, (n) + 12u)
#define TIMES_64(t, n)                                              \
    TIMES_16(t, n), TIMES_16(t, (n) + 16u), TIMES_16(t, (n) + 32u), \
        TIMES_16(t, (n) + 48u)
#define TIMES_256(t) \
    TIMES_64(t, 0u), TIMES_64(t, 64u), TIMES_64(t, 128u), TIMES_64(t, 192u)

static const uint32_t table[4][256] = {
    {TIMES_256(TABLE_0)},
    {TIMES_256(TABLE_1)},
    {TIMES_256(TABLE_2)},
    {TIMES_256(TABLE_3)},
};

static uint32_t le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

uint32_t crc32_of(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;

    for (; len >= 4; p += 4, len -= 4) {
        crc ^= le32(p);
        crc = table[3][crc & 255] ^ table[2][crc >> 8 & 255] ^
              table[1][crc >> 16 & 255] ^ table[0][crc >> 24];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}
