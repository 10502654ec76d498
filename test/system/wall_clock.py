"""The wall clock of one process, to be set by a test (wall_clock.c).

    clock = WallClock(bed, "a")
    bed.spawn(clock.prefix + [PROBER, "run", ...])
    clock.set(3600)    # an hour ahead of the truth
"""
import mmap
import os
import struct
import time

LIBRARY = os.environ.get("WALL_CLOCK_LIBRARY", "")
STEPS_MAX = 255


class WallClock:
    def __init__(self, bed, name):
        path = bed.file(f"{name}.clock", bytes(8 + 16 * STEPS_MAX))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.count = 0
        # A sanitizer wants to be first; it need not be.
        checks = os.environ.get("ASAN_OPTIONS", "") \
            + ":verify_asan_link_order=0"
        self.prefix = ["env", f"LD_PRELOAD={LIBRARY}", f"WALL_CLOCK={path}",
                       f"ASAN_OPTIONS={checks}"]
        self.offset_s = 0

    def set(self, offset_s):
        """From now on it is so many seconds ahead."""
        struct.pack_into("<qq", self.map, 8 + 16 * self.count, time.time_ns(),
                         int(offset_s * 1e9))
        self.count += 1
        struct.pack_into("<Q", self.map, 0, self.count)
        self.offset_s = offset_s
