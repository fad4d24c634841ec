/* Membership messages. channels.md 6 and 18 (9 to 16). */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/channel/channel.h"
#include "tests/support/vectors.h"

enum { ROOM = MEMBERSHIP_MAX };

static void check_span(struct json_object *decoded, const char *field, struct cspan got)
{
    struct json_object *want = vectors_member(decoded, field);
    bool hex = strcmp(field, "token") == 0;
    static uint8_t room[ROOM];
    if (!want) { /* JSON null */
        cr_assert_eq(got.len, 0);
        return;
    }
    size_t len = hex ? unhex(json_object_get_string(want), room, ROOM) : (size_t)json_object_get_string_len(want);
    cr_assert_eq(got.len, len);
    cr_assert_eq(memcmp(got.data, hex ? (char *)room : json_object_get_string(want), len), 0);
}

static const char *const reasons[] = {NULL, "Unauthorized", "UnknownChannel", "RateLimited", "TooManyChannels"};

static enum membership_reason reason_of(struct json_object *message)
{
    struct json_object *reason = vectors_member(message, "reason");
    for (int i = 1; reason && i <= REASON_TOO_MANY_CHANNELS; i++)
        if (strcmp(json_object_get_string(reason), reasons[i]) == 0)
            return (enum membership_reason)i;
    cr_assert_null(reason);
    return REASON_NONE;
}

static void check_decoded(struct json_object *want, const struct membership *m)
{
    static const char *const types[] = {"subscribe", "unsubscribe", "ack"};
    cr_assert_str_eq(types[m->type], vectors_text(want, "type"));
    cr_assert_eq(m->nonce, vectors_u64(want, "nonce"));
    if (m->type == MEMBERSHIP_ACK) {
        cr_assert_eq(m->accepted, json_object_get_boolean(vectors_member(want, "accepted")));
        cr_assert_eq(m->reason, reason_of(want));
        return;
    }
    cr_assert_str_eq(m->channel.text, vectors_text(want, "channel"));
    if (m->type == MEMBERSHIP_SUBSCRIBE) {
        check_span(want, "token", m->token);
        check_span(want, "queue_group", m->queue_group);
    }
}

static int error_of(const char *text)
{
    if (strncmp(text, "Overflow", 8) == 0)
        return NET_ERR_TOO_LARGE;
    if (strncmp(text, "UnknownType", 11) == 0)
        return NET_ERR_FORMAT;
    if (strcmp(text, "Name") == 0)
        return NET_ERR_INVALID;
    cr_assert_str_eq(text, "Truncated");
    return NET_ERR_TRUNCATED;
}

/* Decodes from memory of exactly the message's size, so that a sanitizer sees a step beyond it. */
static int decode(const uint8_t *bytes, size_t len, struct membership *m, uint8_t **copy)
{
    *copy = malloc(len ? len : 1);
    memcpy(*copy, bytes, len);
    return membership_decode((struct cspan){*copy, len}, m);
}

/* The reference writes an empty group as a zero byte; we leave it out, which decodes to the same. */
static bool has_empty_group(struct json_object *message)
{
    struct json_object *group;
    return json_object_object_get_ex(message, "queue_group", &group) && group && json_object_get_string_len(group) == 0;
}

static void check_case(struct json_object *c)
{
    static uint8_t bytes[ROOM], again[ROOM];
    struct json_object *want = vectors_member(c, "decoded"), *error;
    struct membership m;
    uint8_t *copy;
    size_t len = vectors_blob(c, "bytes", bytes, sizeof bytes);
    int err = decode(bytes, len, &m, &copy);
    if (json_object_object_get_ex(want, "error", &error)) {
        cr_assert_eq(err, error_of(json_object_get_string(error)), "%s: %d", vectors_text(c, "bytes"), err);
    } else {
        cr_assert_eq(err, NET_OK, "%s", vectors_text(c, "bytes"));
        check_decoded(want, &m);
        if (strcmp(vectors_text(c, "op"), "encode") == 0) {
            size_t written = len - has_empty_group(vectors_member(c, "message"));
            cr_assert_eq(membership_encode(&m, again, sizeof again), (int)written);
            cr_assert_arr_eq(again, bytes, written);
        }
    }
    free(copy);
}

Test(membership, reference_vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/channels/membership.json"),
                       *cases = vectors_member(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_case(json_object_array_get_idx(cases, i));
    cr_assert_gt(json_object_array_length(cases), 50);
    json_object_put(root);
}

static struct cspan text_span(const char *text)
{
    return (struct cspan){(const uint8_t *)text, strlen(text)};
}

static void encode_control(struct json_object *c)
{
    uint8_t want[1024], got[1024], token[1024];
    const char *kind = vectors_text(c, "kind"), *name = vectors_text(c, "channel"), *bytes = vectors_text(c, "bytes");
    size_t len = vectors_blob(c, "bytes", want, sizeof want);
    struct membership m = {.nonce = vectors_u64(c, "nonce"),
                           .token = {token, vectors_blob(c, "token", token, sizeof token)},
                           .queue_group = text_span(vectors_text(c, "group")),
                           .accepted = json_object_get_boolean(vectors_member(c, "accepted")),
                           .reason = (enum membership_reason)vectors_u64(c, "reason")};
    m.type = kind[0] == 'a' ? MEMBERSHIP_ACK : kind[0] == 'u' ? MEMBERSHIP_UNSUBSCRIBE : MEMBERSHIP_SUBSCRIBE;
    if (m.type != MEMBERSHIP_ACK)
        cr_assert_eq(channel_name_parse(name, strlen(name), &m.channel), CHANNEL_NAME_OK);
    int got_len = membership_encode(&m, got, sizeof got);
    if (strstr(vectors_text(c, "name"), "legacy")) { /* we write the token's length */
        cr_assert_eq(got_len, (int)len + 2);
        cr_assert_arr_eq(got + len, "\0\0", 2);
    } else {
        cr_assert_eq(got_len, (int)len, "%s", bytes);
    }
    cr_assert_arr_eq(got, want, len);
    for (size_t cap = 0; cap < (size_t)got_len; cap++)
        cr_assert_eq(membership_encode(&m, got, cap), NET_ERR_TOO_LARGE);
}

Test(membership, encodes_the_examples)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json"),
                       *cases = vectors_member(root, "membership");
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        encode_control(json_object_array_get_idx(cases, i));
    json_object_put(root);
}

Test(membership, rejects_what_must_not_decode)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json"),
                       *cases = vectors_member(root, "membership_rejected");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        uint8_t bytes[64], *copy;
        struct membership m;
        size_t len = unhex(json_object_get_string(json_object_array_get_idx(cases, i)), bytes, sizeof bytes);
        cr_assert_lt(decode(bytes, len, &m, &copy), 0);
        free(copy);
    }
    json_object_put(root);
}

static int decode_subscribe(const char *name, const void *tail, size_t tail_len)
{
    uint8_t bytes[512] = {0}, *copy;
    struct membership m;
    size_t len = strlen(name);
    bytes[9] = (uint8_t)len;
    memcpy(bytes + 10, name, len);
    memcpy(bytes + 10 + len, tail, tail_len);
    int err = decode(bytes, 10 + len + tail_len, &m, &copy);
    free(copy);
    return err;
}

/* 11, 13, 14 */
Test(membership, error_kinds)
{
    cr_assert_eq(decode_subscribe("a", "", 0), NET_OK);
    cr_assert_eq(decode_subscribe("a", "x", 1), NET_ERR_TRUNCATED);
    cr_assert_eq(decode_subscribe("a",
                                  "\0\0\xc8"
                                  "12345",
                                  8),
                 NET_ERR_TOO_LARGE);
    cr_assert_eq(decode_subscribe("a//b", "\0\0", 2), NET_ERR_INVALID);
    cr_assert_eq(decode_subscribe("a\xff", "\0\0", 2), NET_ERR_TRUNCATED);
    cr_assert_eq(decode_subscribe("a\xc3\xa9", "\0\0", 2), NET_ERR_INVALID, "UTF-8, but no name");
}

/* RFC 3629: what is UTF-8 and what is not, as queue groups, which may hold any. */
Test(membership, utf8)
{
    static const char *const good[] = {
        "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",     "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xe2\x82\xacz"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xe2\x82\x41",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x90\x80",
                                      "\xff"};
    for (int pass = 0; pass < 2; pass++) {
        size_t count = pass ? sizeof bad / sizeof *bad : sizeof good / sizeof *good;
        for (size_t i = 0; i < count; i++) {
            const char *group = pass ? bad[i] : good[i];
            uint8_t tail[16] = {0, 0, (uint8_t)strlen(group)};
            memcpy(tail + 3, group, strlen(group));
            cr_assert_eq(decode_subscribe("a", tail, 3 + strlen(group)), pass ? NET_ERR_TRUNCATED : NET_OK, "%d %zu",
                         pass, i);
        }
    }
}

/* 16 */
Test(membership, ack_reasons)
{
    for (unsigned reason = 0; reason < 256; reason++) {
        uint8_t bytes[12] = {2, 7, 0, 0, 0, 0, 0, 0, 0, 0, (uint8_t)reason};
        struct membership m;
        int err = membership_decode((struct cspan){bytes, 11}, &m);
        cr_assert_eq(err, reason <= 4 ? NET_OK : NET_ERR_FORMAT);
        if (err)
            continue;
        cr_assert_eq(m.reason, (enum membership_reason)reason);
        cr_assert_gt(strlen(membership_reason_text(m.reason)), 0);
        cr_assert_eq(membership_decode((struct cspan){bytes, 12}, &m), NET_ERR_TRUNCATED);
        bytes[9] = 0xFF;
        cr_assert_eq(membership_decode((struct cspan){bytes, 11}, &m), NET_ERR_FORMAT);
    }
}

Test(membership, limits_of_the_encoder)
{
    static uint8_t out[MEMBERSHIP_MAX + 1], zeros[65536];
    struct membership m = {.type = MEMBERSHIP_SUBSCRIBE, .token = {zeros, 169}}, back;
    char longest[CHANNEL_NAME_MAX];
    memset(longest, 'a', sizeof longest);
    cr_assert_eq(channel_name_parse(longest, sizeof longest, &m.channel), CHANNEL_NAME_OK);
    m.queue_group = (struct cspan){(const uint8_t *)longest, QUEUE_GROUP_MAX};
    cr_assert_eq(membership_encode(&m, out, sizeof out), MEMBERSHIP_MAX_SENT);
    m.token.len = 65535;
    cr_assert_eq(membership_encode(&m, out, sizeof out), MEMBERSHIP_MAX);
    cr_assert_eq(membership_decode((struct cspan){out, MEMBERSHIP_MAX}, &back), NET_OK);
    cr_assert_eq(back.token.len, 65535);
    cr_assert_eq(back.queue_group.len, QUEUE_GROUP_MAX);
    m.token.len = 65536;
    cr_assert_eq(membership_encode(&m, out, sizeof out), NET_ERR_TOO_LARGE);
    m.token.len = 0;
    m.queue_group = (struct cspan){zeros, QUEUE_GROUP_MAX + 1};
    cr_assert_eq(membership_encode(&m, out, sizeof out), NET_ERR_TOO_LARGE);
}
