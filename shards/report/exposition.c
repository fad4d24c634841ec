#include "shards/report/exposition.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint64_t NS_PER_S = UINT64_C(1000000000);

void exposition_init(struct exposition *e, void (*put)(void *ctx, const char *text, size_t len), void *ctx)
{
    *e = (struct exposition){.put = put, .ctx = ctx};
}

static void put_str(struct exposition *e, const char *text)
{
    e->put(e->ctx, text, strlen(text));
}

static void put_name(struct exposition *e)
{
    if (strncmp(e->name, "process_", 8) != 0)
        put_str(e, "netmesh_");
    put_str(e, e->name);
}

void exposition_family(struct exposition *e, const char *name, const char *type, const char *help)
{
    e->name = name;
    e->label_count = 0;
    put_str(e, "# HELP ");
    put_name(e);
    put_str(e, " ");
    put_str(e, help);
    put_str(e, "\n# TYPE ");
    put_name(e);
    put_str(e, " ");
    put_str(e, type);
    put_str(e, "\n");
}

void exposition_no_labels(struct exposition *e)
{
    e->label_count = 0;
}

void exposition_label(struct exposition *e, const char *name, const char *value)
{
    assert(e->label_count < EXPOSITION_LABELS);
    e->labels[e->label_count++] = (struct exposition_label){name, value};
}

/* Names of peers and channels come from outside. Neither may end its string or its line. */
static void put_value(struct exposition *e, const char *value)
{
    for (const char *at = value; *at;) {
        size_t plain = 0;
        while (at[plain] >= ' ' && at[plain] <= '~' && at[plain] != '"' && at[plain] != '\\')
            plain++;
        if (plain)
            e->put(e->ctx, at, plain);
        at += plain;
        if (*at == '\0')
            break;
        put_str(e, *at == '"' ? "\\\"" : *at == '\\' ? "\\\\" : *at == '\n' ? "\\n" : "?");
        at++;
    }
}

static void put_label(struct exposition *e, const char *before, const char *name, const char *value)
{
    put_str(e, before);
    put_str(e, name);
    put_str(e, "=\"");
    put_value(e, value);
    put_str(e, "\"");
}

/* Name, suffix and labels of a sample; `le` is the bound of a bucket, or NULL. */
static void put_series(struct exposition *e, const char *suffix, const char *le)
{
    put_name(e);
    put_str(e, suffix);
    for (size_t i = 0; i < e->label_count; i++)
        put_label(e, i ? "," : "{", e->labels[i].name, e->labels[i].value);
    if (le)
        put_label(e, e->label_count ? "," : "{", "le", le);
    put_str(e, e->label_count || le ? "} " : " ");
}

static void put_number(struct exposition *e, uint64_t value)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%" PRIu64 "\n", value);
    e->put(e->ctx, text, (size_t)len);
}

/* Exact: a double would lose the last digits. */
static void format_seconds(char text[32], uint64_t ns)
{
    snprintf(text, 32, "%" PRIu64 ".%09" PRIu64, ns / NS_PER_S, ns % NS_PER_S);
    size_t len = strlen(text);
    while (text[len - 1] == '0')
        text[--len] = '\0';
    if (text[len - 1] == '.')
        text[len - 1] = '\0';
}

static void put_seconds(struct exposition *e, uint64_t ns)
{
    char text[32];
    format_seconds(text, ns);
    put_str(e, text);
    put_str(e, "\n");
}

void exposition_u64(struct exposition *e, uint64_t value)
{
    put_series(e, "", NULL);
    put_number(e, value);
}

void exposition_ns(struct exposition *e, uint64_t ns)
{
    put_series(e, "", NULL);
    put_seconds(e, ns);
}

void exposition_double(struct exposition *e, double value)
{
    char text[40];
    put_series(e, "", NULL);
    snprintf(text, sizeof text, "%.9g\n", value);
    put_str(e, text);
}

/* The count is the sum of what was read of the buckets: the writer goes on meanwhile, and +Inf must agree with it. */
void exposition_histogram(struct exposition *e, const struct histogram *h)
{
    uint64_t count = 0;
    char le[32];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += counter_get(&h->bucket[i]);
        if (i + 1 < HISTOGRAM_BUCKETS)
            format_seconds(le, histogram_bound(i));
        put_series(e, "_bucket", i + 1 < HISTOGRAM_BUCKETS ? le : "+Inf");
        put_number(e, count);
    }
    put_series(e, "_sum", NULL);
    put_seconds(e, counter_get(&h->sum));
    put_series(e, "_count", NULL);
    put_number(e, count);
}
