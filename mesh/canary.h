/* mesh/canary.h - bugs that the simulator must find.
 *
 * A build with MESH_CANARIES can switch one of them on, by the number in its
 * configuration; in every other build none of them exists. See test/sim.
 */
#ifndef MESH_CANARY_H
#define MESH_CANARY_H

enum mesh_canary {
    CANARY_NONE,
    CANARY_REFUTE_SAME,         /* a refutation keeps its incarnation */
    CANARY_SUSPECT_STAYS,       /* an alive does not end a suspicion */
    CANARY_BELIEVE_DEAD,        /* a push/pull's dead is dead at once */
    CANARY_OVERFLOW,            /* no limit on jumps: 2^32-1 wraps */
    CANARY_TAKEOVER,            /* a name that left moves at once */
    CANARY_NO_REJOIN,           /* lost members and seeds are not tried again */
    CANARY_REFLECT,             /* answers go where the packet says */
    CANARY_STALL_ACCUSES,       /* time that passed while stopped counts */
    CANARY_UNBOUNDED,           /* no limit on members */
    CANARY_OLD_EVIDENCE,        /* the recorded incarnation does not advance */
    CANARY_START_LOW,           /* the first incarnation is 1, and no peek */
    CANARY_ANY_ACK,             /* an ack from anybody counts */
    CANARY_FRAMES_WANT_NOTHING, /* others' frames are never asked for */
    CANARY_FRAMES_WRONG_SUM,    /* as many frames count as the same frames */
    CANARY_FRAMES_ALTER,        /* a frame is changed on its way */
    CANARY_N,
};

/* Is bug `which` the one that was `chosen`? */
#ifdef MESH_CANARIES
#define CANARY(chosen, which) ((chosen) == (which))
#else
#define CANARY(chosen, which) ((void)(chosen), 0)
#endif

#endif /* MESH_CANARY_H */
