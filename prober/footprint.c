#include "prober/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Below it are the pieces of a session that is held, above it the buffers of
 * a handshake (libssl's 2 x 16.7 KiB) and the one that nghttp2 keeps and hardly
 * writes to (16 KiB). From one heap, the former settle between the latter, and
 * 1,000 held connections keep 12 to 14 MiB more. */
#define OWN_MAPPING_BYTES (12 * 1024)
#define OWN_MAPPINGS_MAX  16384 /* of the 65530 that the kernel allows */

/* Segments without write permission only: relocated tables lie in writable
 * ones, which the loader protects afterwards, and would be lost. */
static int drop_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)arg;

    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
            continue;
        uintptr_t from = object->dlpi_addr + p->p_vaddr;
        uintptr_t to = (from + p->p_memsz + page - 1) & ~(page - 1);
        from &= ~(page - 1);
        /* Refused for what is no file (vDSO): then nothing changes. */
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void footprint_begin(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES);
    (void)mallopt(M_MMAP_MAX, OWN_MAPPINGS_MAX);
}

void footprint_settle(void)
{
    (void)malloc_trim(0);
    (void)dl_iterate_phdr(drop_object, NULL);
}
