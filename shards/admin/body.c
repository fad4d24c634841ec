/* JSON bodies. */
#include <json-c/json.h>
#include <string.h>

#include "shards/admin/admin_internal.h"

struct json_object *body_parse(const struct connection *c)
{
    struct json_tokener *tokener = strlen((const char *)c->body) == c->request.body_len ? json_tokener_new_ex(8) : NULL;
    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* with its NUL: else a document that ends in a number or a literal is not known to be complete */
    struct json_object *body = json_tokener_parse_ex(tokener, (const char *)c->body, (int)c->request.body_len + 1);
    json_tokener_free(tokener);
    return body;
}
