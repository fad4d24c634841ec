/* Peers: list, add, remove. */
#include <json-c/json.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/session/session.h"
#include "shards/admin/admin_internal.h"

static const struct {
    uint64_t bit;
    const char *name;
} features[] = {
    {FEATURE_SECURE, "secure"},   {FEATURE_ACK, "ack"},         {FEATURE_FRAGMENT, "fragment"},
    {FEATURE_CREDIT, "credit"},   {FEATURE_RELAYED, "relayed"}, {FEATURE_EPOCHS, "epochs"},
    {FEATURE_AES_GCM, "aes_gcm"}, {FEATURE_FOLLOW, "follow"},   {FEATURE_APPEND, "append"},
};

static const char *compat_name(enum peer_compat compat)
{
    return compat == PEER_V019 ? "v0.19" : NULL;
}

static void put_addr(struct buffer *b, const char *key, bool has_addr, const struct io_addr *addr)
{
    char text[64];
    if (has_addr)
        config_format_addr(addr, text);
    json_str(b, key, has_addr ? text : NULL);
}

void put_features(struct buffer *b, uint64_t bits)
{
    json_open(b, "features", '[');
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        if (bits & features[i].bit)
            json_str(b, NULL, features[i].name);
    json_close(b, ']');
}

void put_rtt(struct buffer *b, bool known, uint64_t ns)
{
    if (known)
        json_u64(b, "rtt_us", ns / 1000);
    else
        json_null(b, "rtt_us");
}

static void put_peer(void *ctx, const struct peer_row *row)
{
    static const char *const states[] = {
        [PEER_DOWN] = "down", [PEER_CONNECTING] = "connecting", [PEER_CONNECTED] = "connected"};
    struct buffer *b = ctx;
    json_open(b, NULL, '{');
    json_str(b, "name", row->name);
    json_id(b, "node_id", row->node_id);
    put_addr(b, "addr", row->has_addr, &row->addr);
    json_str(b, "state", states[row->state]);
    json_str(b, "compat", compat_name(row->compat));
    put_features(b, row->features);
    put_rtt(b, row->has_rtt, row->rtt_ns);
    json_close(b, '}');
}

void peers_get(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '[');
    node_each_peer(c->admin->node, put_peer, b);
    json_close(b, ']');
    respond_json(c, 200);
}

/* Each takes one member of the body into the entry; false: `message` says what is allowed. */
static bool take_name(struct peer_entry *e, const char *text)
{
    return text_format(e->name, sizeof e->name, "%s", text);
}

static bool take_node_id(struct peer_entry *e, const char *text)
{
    return config_parse_id(text, &e->node_id) == 0;
}

static bool take_addr(struct peer_entry *e, const char *text)
{
    e->has_addr = config_parse_addr(text, &e->addr) == 0;
    return e->has_addr;
}

static bool take_key(struct peer_entry *e, const char *text)
{
    e->has_key = config_parse_key(text, e->public_key) == 0;
    return e->has_key;
}

static bool take_compat(struct peer_entry *e, const char *text)
{
    e->compat = PEER_V019;
    return strcmp(text, "v0.19") == 0;
}

static bool take_mode(struct peer_entry *e, const char *text)
{
    e->mode = strcmp(text, "direct") == 0 ? PEER_MODE_DIRECT : PEER_MODE_ROUTED;
    return e->mode == PEER_MODE_DIRECT || strcmp(text, "routed") == 0;
}

static const struct {
    const char *key;
    bool required;
    bool (*take)(struct peer_entry *, const char *text);
    const char *message;
} members[] = {
    {"name", true, take_name, "name must be a string of 1 to 63 characters"},
    {"node_id", true, take_node_id, "node_id must be a string: 0x and hex digits, or decimal"},
    {"addr", false, take_addr, "addr must be a string: A:P or [v6]:P"},
    {"public_key", false, take_key, "public_key must be a string of 64 hex digits"},
    {"compat", false, take_compat, "compat must be \"v0.19\""},
    {"mode", false, take_mode, "mode must be \"direct\" or \"routed\""},
};

enum { MEMBERS = sizeof members / sizeof members[0] };

static bool has_unknown_member(struct json_object *body)
{
    json_object_object_foreach(body, key, value)
    {
        size_t i = 0;
        (void)value;
        while (i < MEMBERS && strcmp(members[i].key, key) != 0)
            i++;
        if (i == MEMBERS)
            return true;
    }
    return false;
}

/* NULL, or what is wrong. Absent and null are the same. */
static const char *take_members(struct json_object *body, struct peer_entry *e)
{
    if (!json_object_is_type(body, json_type_object))
        return "the body must be one JSON object";
    if (has_unknown_member(body))
        return "the members are name, node_id, addr, public_key, compat, mode";
    for (size_t i = 0; i < MEMBERS; i++) {
        struct json_object *value = json_object_object_get(body, members[i].key);
        if (!value && !members[i].required)
            continue;
        const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
        if (!text || strlen(text) != (size_t)json_object_get_string_len(value) || !members[i].take(e, text))
            return members[i].message;
    }
    return NULL;
}

static void put_entry(struct buffer *b, const struct peer_entry *e)
{
    json_open(b, NULL, '{');
    json_str(b, "name", e->name);
    json_id(b, "node_id", e->node_id);
    put_addr(b, "addr", e->has_addr, &e->addr);
    if (e->has_key)
        json_hex(b, "public_key", e->public_key, sizeof e->public_key);
    else
        json_null(b, "public_key");
    json_str(b, "compat", compat_name(e->compat));
    json_str(b, "mode", e->compat != PEER_V019 ? NULL : e->mode == PEER_MODE_DIRECT ? "direct" : "routed");
    json_close(b, '}');
}

static void on_added(struct control_request *r, int err, const char *message)
{
    control_answer(container_of(r, struct connection, control), 201, err, message);
}

void peers_post(struct connection *c)
{
    struct peer_entry entry = {0};
    struct config_error error;
    struct json_object *body = body_parse(c);
    const char *message = take_members(body, &entry);
    json_object_put(body);
    if (!message && peer_entry_check(&entry, &error) != 0)
        message = error.text;
    if (message) {
        respond_error(c, NET_ERR_INVALID, message);
        return;
    }
    put_entry(reply_begin(c), &entry);
    c->control = (struct control_request){.done = on_added};
    c->exchange = &control_exchange;
    node_peer_add(c->admin->node, &entry, &c->control);
}

static void on_removed(struct control_request *r, int err, const char *message)
{
    control_answer(container_of(r, struct connection, control), 200, err, message);
}

void peers_delete(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_str(b, "removed", c->request.path_param);
    json_close(b, '}');
    c->control = (struct control_request){.done = on_removed};
    c->exchange = &control_exchange;
    node_peer_remove(c->admin->node, c->request.path_param, &c->control);
}
