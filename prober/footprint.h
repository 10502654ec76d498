/* prober/footprint.h - how much memory the process is seen to hold.
 *
 * Two habits of the C library and of the loader make a small daemon look
 * large for ever. Big pieces once freed teach malloc to take later ones from
 * the heap, where calloc() has to clear (and so to touch) what may not be
 * used for days, and where small ones that stay lie between those that go. And
 * the code and tables that only start-up runs through, 4 MiB of libcrypto above
 * all, stay mapped although nobody comes back.
 */
#ifndef PROBER_FOOTPRINT_H
#define PROBER_FOOTPRINT_H

/* First thing in the daemon: pieces of 12 KiB and more are mappings of their
 * own, always, and go back to the system when freed. */
void footprint_begin(void);

/* Once started: give free heap back, and unmap the pages of the program and
 * its libraries that were never written to. What is still needed is mapped
 * again at first use from the page cache; the rest no longer counts. */
void footprint_settle(void);

#endif /* PROBER_FOOTPRINT_H */
