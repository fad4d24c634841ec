/* What answers, bodies and parameters look like, as data: /openapi.json is rendered from it (JSON Schema 2020-12). */
#ifndef NM_SHARDS_ADMIN_SCHEMA_H
#define NM_SHARDS_ADMIN_SCHEMA_H

#include "shards/admin/json.h"

enum schema_kind {
    SCHEMA_TEXT,
    SCHEMA_ID,  /* "0x" and 16 hex digits */
    SCHEMA_HEX, /* lower-case hex digits */
    SCHEMA_BASE64,
    SCHEMA_U64,
    SCHEMA_FLAG,
    SCHEMA_ENUM,
    SCHEMA_ERROR_CODE, /* all there are */
    SCHEMA_POSITION,   /* in a log, as a parameter: earliest, latest or a sequence */
    SCHEMA_ARRAY,
    SCHEMA_OBJECT,
    SCHEMA_ANY_OBJECT,
    SCHEMA_EITHER,
};

struct member;

struct schema {
    enum schema_kind kind;
    const char *name; /* among the document's components; NULL: written where it is used */
    const char *about;
    const struct schema *items;         /* array */
    unsigned count;                     /* of items; 0: any */
    const char *const *choices;         /* enum; ends with NULL */
    const struct member *members;       /* object: these and no others; ends with key NULL */
    const struct schema *const *either; /* ends with NULL */
};

struct member {
    const char *key;
    const struct schema *schema;
    const char *about; /* NULL: the schema's own */
    bool nullable, optional;
};

extern const struct schema schema_text, schema_id, schema_hex, schema_u64, schema_flag, schema_position,
    schema_any_object;

/* A reference where the schema has a name, else the schema itself. */
void schema_put(struct buffer *, const char *key, const struct schema *, const char *about, bool nullable);
void schema_put_definition(struct buffer *, const struct schema *); /* of a named one */

/* schemas.c: what the port takes and answers */
extern const struct schema *const schemas_named[]; /* ends with NULL */
extern const struct schema schema_error, schema_publish_error;
extern const struct schema schema_readiness;
extern const struct schema schema_node, schema_shards, schema_sessions, schema_streams, schema_peers, schema_peer_entry,
    schema_removed;
extern const struct schema schema_channels, schema_subscriptions, schema_subscribers, schema_subscribed;
extern const struct schema schema_published, schema_publish_line, schema_event_row, schema_log_level, schema_stopping;
extern const struct schema schema_settings, schema_reloaded;
extern const struct schema schema_event_format, schema_subscription_mode;

#endif
