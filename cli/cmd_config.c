/* config check, config show, reload: what a node is set to, in its files and while it runs. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "core/base/err.h"
#include "shards/config/config.h"

/* ---- config check ---- */

struct findings {
    struct json_object *problems, *warnings;
    int code; /* the gravest */
};

static void on_found(void *ctx, enum check_kind kind, const char *text)
{
    struct findings *f = ctx;
    json_object_array_add(kind == CHECK_WARNING ? f->warnings : f->problems, json_object_new_string(text));
    if (kind == CHECK_CONFIG)
        f->code = CLI_CONFIG;
    else if (kind == CHECK_SECRET && f->code == CLI_OK)
        f->code = CLI_USAGE;
}

static void print_texts(const char *label, struct json_object *texts)
{
    for (size_t i = 0; i < json_object_array_length(texts); i++) {
        const char *text = json_object_get_string(json_object_array_get_idx(texts, i));
        fputs(label, stdout);
        cli_plain(stdout, text, strlen(text));
        putchar('\n');
    }
}

static int print_findings(const struct cli_args *args, const struct findings *f)
{
    enum output_format format = output_one_shot(args);
    if (format == OUTPUT_TABLE || format == OUTPUT_TEXT) {
        print_texts("wrong: ", f->problems);
        print_texts("warning: ", f->warnings);
        if (f->code == CLI_OK)
            puts("ok");
        return output_flush();
    }
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "ok", json_object_new_boolean(f->code == CLI_OK));
    json_object_object_add(o, "problems", json_object_get(f->problems));
    json_object_object_add(o, "warnings", json_object_get(f->warnings));
    int code = output_value(args, o);
    json_object_put(o);
    return code;
}

int command_config_check(const struct cli_args *args)
{
    struct findings f = {json_object_new_array(), json_object_new_array(), CLI_OK};
    node_dir_check(args->words[0], args->sets, args->set_count, on_found, &f);
    int code = print_findings(args, &f);
    json_object_put(f.problems);
    json_object_put(f.warnings);
    return code != CLI_OK ? code : f.code;
}

/* ---- config show ---- */

static const char columns[] = "key value source line pending?"; /* when each applies is in node.yaml, too */

static void on_row(void *ctx, const struct config_row *row)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "key", json_object_new_string(row->key));
    json_object_object_add(o, "value", json_object_new_string(row->value));
    json_object_object_add(o, "source", json_object_new_string(config_source(row)));
    json_object_object_add(o, "line", row->line > 0 ? json_object_new_int(row->line) : NULL);
    json_object_object_add(o, "applies", json_object_new_string(row->applies));
    json_object_array_add(ctx, o);
}

static int show_files(const struct cli_args *args)
{
    struct config c;
    struct config_error error;
    if (config_load(args->words[0], args->sets, args->set_count, &c, &error) != NET_OK)
        return cli_error(CLI_CONFIG, "%s", error.text);
    struct json_object *rows = json_object_new_array();
    config_each(&c, NULL, NULL, on_row, rows);
    int code = output_list(args, rows, columns);
    json_object_put(rows);
    return code;
}

/* The node of the directory, or of --endpoint. */
static int show_node(const struct cli_args *args)
{
    struct cli_args of_node = *args;
    if (args->word_count)
        of_node.value[OPTION_ENDPOINT] = args->words[0];
    return client_list(&of_node, "/v1/config", columns);
}

int command_config_show(const struct cli_args *args)
{
    bool node = cli_has(args, OPTION_EFFECTIVE) || args->word_count == 0;
    if (node && args->set_count)
        return cli_error(CLI_USAGE,
                         "config show: --set is for the files of a DIR; a running node has the values it has");
    if (args->word_count && cli_has(args, OPTION_ENDPOINT))
        return cli_error(CLI_USAGE, "config show: found DIR and --endpoint, allowed: one of them");
    return node ? show_node(args) : show_files(args);
}

/* ---- reload ---- */

/* What the node says of its files is a matter of configuration, whatever the status. */
static bool is_about_files(const struct http *h)
{
    static const char *const codes[] = {"invalid", "too_large", "not_found", "permission", "io"};
    struct json_object *answer = h->body ? json_tokener_parse(h->body) : NULL;
    const char *code = client_error_text(answer, "code");
    bool about = false;
    for (size_t i = 0; code && i < sizeof codes / sizeof codes[0]; i++)
        about |= strcmp(code, codes[i]) == 0;
    json_object_put(answer);
    return about;
}

static int print_changes(const struct client *c)
{
    struct json_object *answer = c->http.body ? json_tokener_parse(c->http.body) : NULL;
    if (!answer)
        return cli_error(CLI_FAILURE, "%s: the answer is not JSON", c->endpoint.shown);
    int code = output_value(c->args, answer);
    json_object_put(answer);
    return code;
}

int command_reload(const struct cli_args *args)
{
    struct client c;
    int code = client_open(&c, args);
    if (code == CLI_OK) {
        enum http_result result = client_send_head(&c, "POST", "/v1/reload", NULL, 0);
        if (result == HTTP_DONE || result == HTTP_ANSWERED)
            result = http_receive(&c.http);
        code = result == HTTP_DONE ? client_check(&c) : client_failed(&c, result);
        if (result == HTTP_DONE && code != CLI_OK && is_about_files(&c.http))
            code = CLI_CONFIG;
    }
    if (code == CLI_OK)
        code = print_changes(&c);
    client_close(&c);
    return code;
}
