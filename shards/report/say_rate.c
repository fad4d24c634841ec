#include "shards/report/say_rate.h"

#include <stddef.h>

#include "core/base/text.h"

static const uint64_t SPAN_NS = 1000000000, SPAN_MAX_NS = UINT64_C(60000000000);

void say_rate_init(struct say_rate *r)
{
    *r = (struct say_rate){.due = UINT64_MAX};
}

static bool is_over(const struct say_kind *k, uint64_t now)
{
    return now - k->since >= k->span;
}

/* Nothing is to be told of it, and its span is over. */
static bool is_stale(const struct say_kind *k, uint64_t now)
{
    return !k->since || (is_over(k, now) && !k->summary.suppressed);
}

/* Its own place, one that nobody needs any more, or the shared one. */
static struct say_kind *find(struct say_rate *r, const char *format, uint64_t now)
{
    struct say_kind *shared = &r->kinds[SAY_KINDS - 1], *stale = NULL;
    for (struct say_kind *k = r->kinds; k != shared; k++) {
        if (!is_stale(k, now) && k->format == format)
            return k;
        if (!stale && is_stale(k, now))
            stale = k;
    }
    struct say_kind *k = stale ? stale : shared;
    if (is_stale(k, now))
        *k = (struct say_kind){.format = format, .since = now, .span = SPAN_NS};
    return k;
}

bool say_rate_take(struct say_rate *r, const char *format, uint64_t now, uint32_t limit, struct say_kind **kind)
{
    struct say_kind *k = find(r, format, now);
    *kind = k;
    if (limit == 0 || k->said < limit) {
        k->said++;
        return true;
    }
    k->summary.suppressed++;
    if (k->since + k->span < r->due)
        r->due = k->since + k->span;
    return false;
}

void say_rate_sample(struct say_kind *k, enum config_level level, const char *message)
{
    k->summary.level = level;
    text_format(k->summary.sample, sizeof k->summary.sample, "%s", message);
}

bool say_rate_summary(struct say_rate *r, uint64_t now, struct say_summary *out)
{
    r->due = UINT64_MAX;
    for (struct say_kind *k = r->kinds; k != r->kinds + SAY_KINDS; k++) {
        if (!k->summary.suppressed)
            continue;
        if (is_over(k, now)) {
            *out = k->summary;
            k->since = now;
            k->span = 2 * k->span < SPAN_MAX_NS ? 2 * k->span : SPAN_MAX_NS;
            k->said = 0;
            k->summary.suppressed = 0;
            r->due = now; /* there may be others */
            return true;
        }
        if (k->since + k->span < r->due)
            r->due = k->since + k->span;
    }
    return false;
}
