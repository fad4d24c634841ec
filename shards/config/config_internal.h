/* What the files of this folder share: the table of keys, the reading of YAML documents, and error texts. */
#ifndef NM_SHARDS_CONFIG_CONFIG_INTERNAL_H
#define NM_SHARDS_CONFIG_CONFIG_INTERNAL_H

#include <stdio.h>
#include <yaml.h>

#include "shards/config/config.h"

/* ---- config_keys.c: every key there is ---- */

enum config_key_type {
    KEY_BOOL,     /* bool */
    KEY_NUMBER,   /* unsigned integer of `size` bytes */
    KEY_SIZE,     /* the same, with KiB, MiB, GiB */
    KEY_DURATION, /* uint64_t nanoseconds */
    KEY_WORD,     /* an enum: the index of the word */
    KEY_LISTEN,   /* struct io_addr */
    KEY_ADMIN,    /* config.admin: an address or unix:PATH */
    KEY_PATH,     /* char[size]: a path, or the word of `zero` for "" */
    KEY_CPUS,     /* list: config.cpus and cpu_count */
    KEY_CIPHERS,  /* list: config.cipher_* */
    KEY_RULES,    /* mapping: config.rules and rule_count; rules.c */
};

struct config_key {
    const char *name; /* "listen", or "section.key"; keys of one section stand together */
    enum config_key_type type;
    const char *initial;      /* the default, as text */
    size_t offset, size;      /* of the field in struct config */
    uint64_t min, max;        /* numbers, sizes, durations (ns) */
    const char *zero;         /* a word that stands for 0, or NULL */
    const char *const *words; /* KEY_WORD: NULL-terminated */
    bool power_of_two;
    const char *live; /* how a reload applies it; NULL: at the next start alone */
    bool channel;     /* may stand in a rule of channels.prefixes: the field is one of config.channel */
    const char *doc;  /* sentences for node.yaml, a line each */
};

enum { CONFIG_TEXT_MAX = 256, CONFIG_VALUE_MAX = 4096 };
extern const struct config_key config_keys[];
extern const size_t config_key_count; /* at most CONFIG_KEY_MAX */

const struct config_key *config_key_find(const char *name); /* NULL: no such key */
bool config_key_is_list(const struct config_key *);
/* Checks `text` (a list: its items, separated by commas; rules: "", none) and stores the value. 0 or NET_ERR_INVALID.
 */
int config_key_set(const struct config_key *, struct config *, const char *text);
/* The same for a key of a channel, into the settings of a rule. */
int config_key_set_channel(const struct config_key *, struct channel_settings *, const char *text);
/* The field of such a key. */
void *config_key_field(const struct config_key *, struct channel_settings *);
/* The value as text that config_key_set() takes; of rules: how many there are. */
void config_key_format(const struct config_key *, const struct config *, char out[CONFIG_VALUE_MAX]);
void config_key_format_channel(const struct config_key *, const struct channel_settings *, char out[CONFIG_VALUE_MAX]);
bool config_key_equal(const struct config_key *, const struct config *, const struct config *);
void config_key_copy(const struct config_key *, struct config *to, const struct config *from);
/* "at once on reload", "at the next start": when a change of it counts. */
const char *config_key_applies(const struct config_key *);
/* "auto or 1..64": what the key takes. */
void config_key_allowed(const struct config_key *, char out[CONFIG_TEXT_MAX]);

/* ---- config_error.c ---- */

/* Fills error->text and returns NET_ERR_INVALID. */
int config_fail(struct config_error *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `text` in double quotes, shortened, with control characters shown as '?'. */
void config_quote(const char *text, char out[CONFIG_TEXT_MAX]);

/* ---- document.c: one YAML document, its nodes and where they stand ---- */

struct document {
    yaml_document_t yaml;
    const char *file; /* for messages */
    struct config_error *error;
};

/* Reads exactly one document; an empty one has no root. On failure nothing is to be closed. */
int document_open(struct document *, const char *text, size_t len, const char *file, struct config_error *);
void document_close(struct document *);
yaml_node_t *document_root(struct document *);
yaml_node_t *document_node(struct document *, int index);
/* The text of a scalar; NULL for anything else, or when it holds a NUL byte. */
const char *document_text(const yaml_node_t *);
bool document_is_empty(const yaml_node_t *); /* a key without a value */
/* True for a value in quotes or in a block: text, never a number or a boolean. */
bool document_is_quoted(const yaml_node_t *);
/* "FILE:LINE: key: found X, allowed: Y", X being the node described. NET_ERR_INVALID. */
int document_fail(struct document *, const yaml_node_t *, const char *key, const char *allowed);
/* That `node` is a mapping whose keys are texts, each there once; `key` names it in messages. */
int document_check_mapping(struct document *, const yaml_node_t *, const char *key);

/* The text of a value as `key` takes it: NULL for what is no scalar, or quoted where a number or boolean belongs. */
const char *config_value_text(const struct config_key *, const yaml_node_t *);

/* ---- rules.c: channels.prefixes ---- */

enum { CONFIG_KEY_PATH = 384 }; /* of "channels.prefixes.PREFIX.key" */

/* Reads the mapping; NET_ERR_INVALID with the document's error filled. */
int rules_take(struct document *, const yaml_node_t *, struct config *);
/* Once channels.* are known: gives each rule what it does not state. */
void rules_resolve(struct config *);
/* The same prefixes state the same. */
bool rules_equal(const struct config *, const struct config *);
/* Where each setting of channels.* was given, in the order of struct channel_settings. */
void config_channel_lines(const struct config *, int32_t lines[CHANNEL_SETTINGS]);
/* A row for each setting that a rule states. */
void rules_each(const struct config *, void (*row)(void *ctx, const struct config_row *), void *ctx);

/* ---- file.c ---- */

/* Whole file into malloc'ed memory with a NUL behind it. NET_ERR_NOT_FOUND, NET_ERR_INVALID (not a regular file),
 * NET_ERR_IO, NET_ERR_TOO_LARGE; *error filled. */
int file_read(const char *path, size_t max, char **text, size_t *len, struct config_error *);
/* 32 bytes as 64 hex digits with an LF behind them, or without; the file must not be readable by others. */
int secret_read(const char *path, uint8_t out[32], struct config_error *);
/* DIR/NAME into out; NET_ERR_INVALID when longer than CONFIG_PATH_MAX. */
int file_path(const char *dir, const char *name, char out[CONFIG_PATH_MAX], struct config_error *);

/* Writes `text` as a double-quoted YAML scalar. */
void yaml_put_quoted(FILE *, const char *text);

#endif
