#include "prober/intake.h"

#include "mesh/matrix.h"
#include "prober/clock.h"

#define TAKE_MAX 512 /* samples folded per turn */

static void names_of(void *arg, const struct sample *s,
                     struct sample_names *out)
{
    const struct intake *in = arg;
    *out = (struct sample_names){.from_node = in->config->node.name,
                                 .from_zone = in->config->node.zone};
    const struct lineup_target *t =
        lineup_find(plane_lineup(in->plane), s->target, s->target_gen);
    if (!t)
        return;
    out->target = t->text;
    out->to_node = t->name;
    out->to_zone = t->zone;
}

/* Targets may go; those of the samples that can be asked for are kept. */
static void keep(struct intake *in, const struct sample *s)
{
    struct api_source *source = in->source;
    struct lineup *lineup = plane_lineup(in->plane);
    struct sample *place = &in->samples[source->samples_head];
    struct lineup_target *of = lineup_find(lineup, s->target, s->target_gen);
    struct lineup_target *before = NULL;
    if (source->samples_count == INTAKE_SAMPLES_KEPT)
        before = lineup_find(lineup, place->target, place->target_gen);
    if (of)
        lineup_keep(of);
    if (before)
        lineup_forget(lineup, before);
    *place = *s;
    source->samples_head = (source->samples_head + 1) % INTAKE_SAMPLES_KEPT;
    if (source->samples_count < INTAKE_SAMPLES_KEPT)
        source->samples_count++;
    source->samples_total++;
}

static void count(struct intake *in, const struct sample *s)
{
    const struct lineup_target *t =
        lineup_find(plane_lineup(in->plane), s->target, s->target_gen);
    const char *zone =
        t ? matrix_label(LEVEL_ZONE, t->name, t->zone, NULL) : NULL;
    (void)totals_add(in->totals, zone, s,
                     clock_now_ns()); /* counts that, too */
}

static void take_status(struct intake *in)
{
    while (plane_take_status(in->plane, &in->status)) {
        if (in->status.lag_p99_ns > in->lag_p99_ns)
            in->lag_p99_ns = in->status.lag_p99_ns;
        if (in->status.in_flight > in->in_flight_max)
            in->in_flight_max = in->status.in_flight;
        in->status.queue_drops += in->samples_lost;
    }
}

int intake_init(struct intake *in, const struct config *config,
                struct plane *plane, struct api_source *source)
{
    in->config = config;
    in->plane = plane;
    in->source = source;
    in->totals = totals_open();
    source->plane = &in->status;
    source->samples = in->samples;
    source->samples_size = INTAKE_SAMPLES_KEPT;
    source->names = names_of;
    source->names_arg = in;
    return in->totals ? 0 : ERR_NOMEM;
}

void intake_fini(struct intake *in)
{
    totals_close(in->totals);
    in->totals = NULL;
}

bool intake_take(struct intake *in, struct windows *windows,
                 uint64_t now_unix_ns)
{
    struct sample s;
    int n = 0;
    for (; n < TAKE_MAX && plane_take_sample(in->plane, &s); n++) {
        keep(in, &s);
        if (in->totals)
            count(in, &s);
        if (windows && windows_add(windows, &s, now_unix_ns))
            in->samples_lost++; /* shown as dropped, as those of the queue */
    }
    take_status(in);
    return n == TAKE_MAX;
}
