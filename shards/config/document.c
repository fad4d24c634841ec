/* One YAML document read by libyaml, with the line of everything in it. */
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

static int parse_error(const yaml_parser_t *p, const char *file, struct config_error *error)
{
    return config_fail(error, "%s:%zu: found text that is not YAML (%s), allowed: YAML", file, p->problem_mark.line + 1,
                       p->problem ? p->problem : "out of memory");
}

/* A second document would be read by nobody. */
static int expect_end(yaml_parser_t *p, const char *file, struct config_error *error)
{
    yaml_document_t next;
    if (!yaml_parser_load(p, &next))
        return parse_error(p, file, error);
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    int err = root
                  ? config_fail(error, "%s:%zu: found a second document, allowed: one", file, root->start_mark.line + 1)
                  : NET_OK;
    yaml_document_delete(&next);
    return err;
}

int document_open(struct document *d, const char *text, size_t len, const char *file, struct config_error *error)
{
    yaml_parser_t p;
    *d = (struct document){.file = file, .error = error};
    if (!yaml_parser_initialize(&p)) {
        config_fail(error, "%s: out of memory", file);
        return NET_ERR_NO_MEMORY;
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
    int err = NET_OK;
    if (!yaml_parser_load(&p, &d->yaml))
        err = parse_error(&p, file, error);
    else if (document_root(d) && (err = expect_end(&p, file, error)) != NET_OK)
        document_close(d);
    yaml_parser_delete(&p);
    return err;
}

void document_close(struct document *d)
{
    yaml_document_delete(&d->yaml);
}

yaml_node_t *document_root(struct document *d)
{
    return yaml_document_get_root_node(&d->yaml);
}

yaml_node_t *document_node(struct document *d, int index)
{
    return yaml_document_get_node(&d->yaml, index);
}

const char *document_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

bool document_is_quoted(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

bool document_is_empty(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 && !document_is_quoted(node);
}

static void describe(const yaml_node_t *node, char out[CONFIG_TEXT_MAX])
{
    const char *text = document_text(node);
    if (document_is_empty(node))
        strcpy(out, "nothing");
    else if (text) {
        config_quote(text, out);
        if (document_is_quoted(node))
            strcat(out, " (a text)");
    } else
        strcpy(out, node->type == YAML_SEQUENCE_NODE  ? "a list"
                    : node->type == YAML_MAPPING_NODE ? "a mapping"
                                                      : "a text with a NUL byte");
}

int document_fail(struct document *d, const yaml_node_t *node, const char *key, const char *allowed)
{
    char found[CONFIG_TEXT_MAX];
    describe(node, found);
    return config_fail(d->error, "%s:%zu: %s%sfound %s, allowed: %s", d->file, node->start_mark.line + 1, key,
                       *key ? ": " : "", found, allowed);
}

int document_check_mapping(struct document *d, const yaml_node_t *node, const char *key)
{
    enum { KEYS_MAX = 256 }; /* of any mapping we read; keeps the search for duplicates short */
    if (node->type != YAML_MAPPING_NODE)
        return document_fail(d, node, key, "a mapping of keys to values");
    const yaml_node_pair_t *first = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    if (end - first > KEYS_MAX)
        return config_fail(d->error, "%s:%zu: %s%sfound %td keys, allowed: at most %d", d->file,
                           node->start_mark.line + 1, key, *key ? ": " : "", end - first, KEYS_MAX);
    for (const yaml_node_pair_t *p = first; p < end; p++) {
        const yaml_node_t *k = document_node(d, p->key);
        const char *text = document_text(k);
        if (!text)
            return document_fail(d, k, key, "keys that are words");
        for (const yaml_node_pair_t *q = first; q < p; q++) {
            const yaml_node_t *other = document_node(d, q->key);
            if (strcmp(text, document_text(other)) == 0)
                return config_fail(d->error, "%s:%zu: %s%s%.64s: found twice (first in line %zu), allowed: once",
                                   d->file, k->start_mark.line + 1, key, *key ? "." : "", text,
                                   other->start_mark.line + 1);
        }
    }
    return NET_OK;
}

void yaml_put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}
