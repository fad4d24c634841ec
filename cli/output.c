/* JSON, and the choice between the formats. */
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/table.h"

enum output_format output_one_shot(const struct cli_args *args)
{
    return args->output != OUTPUT_DEFAULT ? args->output : isatty(STDOUT_FILENO) ? OUTPUT_TABLE : OUTPUT_JSON;
}

enum output_format output_stream(const struct cli_args *args)
{
    return args->output != OUTPUT_DEFAULT ? args->output : isatty(STDOUT_FILENO) ? OUTPUT_TEXT : OUTPUT_NDJSON;
}

int output_error(int error)
{
    if (error == 0)
        return CLI_OK;
    return error == EPIPE ? CLI_FAILURE : cli_error(CLI_FAILURE, "cannot write to stdout: %s", strerror(error));
}

int output_flush(void)
{
    errno = 0;
    return fflush(stdout) == 0 && !ferror(stdout) ? CLI_OK : output_error(errno ? errno : EIO);
}

int output_bytes(const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static const char *compact(struct json_object *value)
{
    return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static bool is_empty(struct json_object *value)
{
    return (json_object_is_type(value, json_type_object) && json_object_object_length(value) == 0) ||
           (json_object_is_type(value, json_type_array) && json_object_array_length(value) == 0);
}

static void put_key(FILE *out, const char *key)
{
    struct json_object *text = json_object_new_string(key);
    fputs(compact(text), out);
    json_object_put(text);
}

static void put_json(FILE *out, struct json_object *value, int depth)
{
    if (is_empty(value) ||
        (!json_object_is_type(value, json_type_object) && !json_object_is_type(value, json_type_array))) {
        fputs(compact(value), out);
        return;
    }
    bool object = json_object_is_type(value, json_type_object), first = true;
    fputc(object ? '{' : '[', out);
    if (object) {
        json_object_object_foreach(value, key, member)
        {
            fprintf(out, "%s\n%*s", first ? "" : ",", 2 * depth + 2, "");
            put_key(out, key);
            fputs(": ", out);
            put_json(out, member, depth + 1);
            first = false;
        }
    } else
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            fprintf(out, "%s\n%*s", i ? "," : "", 2 * depth + 2, "");
            put_json(out, json_object_array_get_idx(value, i), depth + 1);
        }
    fprintf(out, "\n%*s%c", 2 * depth, "", object ? '}' : ']');
}

/* False: the value has no such form. */
static bool put_value(FILE *out, const struct cli_args *args, struct json_object *value, const char *columns)
{
    bool ok = true;
    switch (output_one_shot(args)) {
    case OUTPUT_NDJSON:
        fprintf(out, "%s\n", compact(value));
        break;
    case OUTPUT_YAML:
        ok = output_yaml(out, value, false);
        break;
    case OUTPUT_TABLE:
        table_print(out, value,
                    &(struct table_style){.aligned = true,
                                          .columns = columns,
                                          .colored = cli_colored(STDOUT_FILENO),
                                          .width = cli_terminal_width(STDOUT_FILENO)});
        break;
    case OUTPUT_TEXT:
        table_print(out, value, &(struct table_style){.aligned = false});
        break;
    default:
        put_json(out, value, 0);
        fputc('\n', out);
    }
    return ok;
}

/* In memory first: stdio would not tell a broken pipe from other errors once its buffer was written in between. */
int output_list(const struct cli_args *args, struct json_object *value, const char *columns)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    bool ok = out && put_value(out, args, value, columns);
    if (!out || fclose(out) != 0 || !ok) {
        free(text);
        return cli_error(CLI_FAILURE,
                         ok || !out ? "out of memory" : "the answer has characters that YAML does not allow");
    }
    int error = output_bytes(text, len);
    free(text);
    return output_error(error);
}

int output_value(const struct cli_args *args, struct json_object *value)
{
    return output_list(args, value, NULL);
}
