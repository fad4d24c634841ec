/* Channel names and their hashes. channels.md 2 and 3. */
#include <assert.h>
#include <xxhash.h>

#include "core/channel/channel.h"

static bool is_lower_or_digit(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static enum channel_name_error check_characters(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_lower_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '/')
            continue;
        return c >= 'A' && c <= 'Z' ? CHANNEL_NAME_FORMAT : CHANNEL_NAME_CHAR;
    }
    return CHANNEL_NAME_OK;
}

/* The segment at *at, which moves behind the slash that ends it; false behind the last one. */
static bool next_segment(struct cspan name, size_t *at, struct cspan *segment)
{
    if (*at > name.len)
        return false;
    const uint8_t *start = name.data + *at, *slash = memchr(start, '/', name.len - *at);
    size_t len = slash ? (size_t)(slash - start) : name.len - *at;
    *segment = (struct cspan){start, len};
    *at += len + 1;
    return true;
}

static bool segment_is(struct cspan segment, const char *text)
{
    return segment.len == strlen(text) && memcmp(segment.data, text, segment.len) == 0;
}

/* Rules 3, 4 and 7 walk the same segments, but the scan of rules 5 and 6 comes between them. */
static bool has_empty_segment(struct cspan name)
{
    struct cspan segment;
    for (size_t at = 0; next_segment(name, &at, &segment);)
        if (segment.len == 0)
            return true;
    return false;
}

static bool has_dot_segment(struct cspan name)
{
    struct cspan segment;
    for (size_t at = 0; next_segment(name, &at, &segment);)
        if (segment_is(segment, ".") || segment_is(segment, ".."))
            return true;
    return false;
}

static struct cspan span_of(const struct channel_name *name)
{
    return (struct cspan){(const uint8_t *)name->text, name->len};
}

enum channel_name_error channel_name_parse(const char *text, size_t len, struct channel_name *out)
{
    if (len == 0)
        return CHANNEL_NAME_EMPTY;
    if (len > CHANNEL_NAME_MAX)
        return CHANNEL_NAME_TOO_LONG;
    struct cspan name = {(const uint8_t *)text, len};
    if (has_empty_segment(name))
        return CHANNEL_NAME_FORMAT;
    enum channel_name_error err = check_characters(text, len);
    if (err)
        return err;
    if (has_dot_segment(name))
        return CHANNEL_NAME_FORMAT;
    if (out) {
        out->len = (uint8_t)len;
        memcpy(out->text, text, len);
        out->text[len] = '\0';
    }
    return CHANNEL_NAME_OK;
}

const char *channel_name_error_text(enum channel_name_error err)
{
    static const char *const texts[] = {
        [CHANNEL_NAME_OK] = "the channel name is valid",
        [CHANNEL_NAME_EMPTY] = "the channel name is empty, it must have 1 to 255 characters",
        [CHANNEL_NAME_TOO_LONG] = "the channel name is longer than 255 characters",
        [CHANNEL_NAME_FORMAT] =
            "the channel name must be lower case, its segments between \"/\" neither empty nor \".\" or \"..\"",
        [CHANNEL_NAME_CHAR] = "the channel name has a character other than a-z 0-9 - _ . /",
    };
    assert((size_t)err < sizeof texts / sizeof texts[0]);
    return texts[err];
}

static bool is_generation(struct cspan segment)
{
    if (segment.len != 11 || segment.data[0] != 'v')
        return false;
    for (size_t i = 1; i < segment.len; i++)
        if (segment.data[i] < '0' || segment.data[i] > '9')
            return false;
    return true;
}

bool channel_name_storable(const struct channel_name *name)
{
    static const char *const taken[] = {"manifest", "manifest.tmp", "log.id"};
    struct cspan segment;
    size_t at = 0;
    next_segment(span_of(name), &at, &segment); /* the first one has no log's directory around it */
    while (next_segment(span_of(name), &at, &segment)) {
        if (is_generation(segment))
            return false;
        for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
            if (segment_is(segment, taken[i]))
                return false;
    }
    return true;
}

unsigned channel_depth(const struct channel_name *name)
{
    unsigned depth = 0;
    struct cspan segment;
    for (size_t at = 0; next_segment(span_of(name), &at, &segment);)
        depth++;
    return depth;
}

bool channel_prefix_of(const struct channel_name *prefix, const struct channel_name *name)
{
    if (prefix->len > name->len || memcmp(prefix->text, name->text, prefix->len) != 0)
        return false;
    return prefix->len == name->len || name->text[prefix->len] == '/';
}

uint64_t channel_hash(const char *text, size_t len)
{
    return XXH3_64bits(text, len);
}
