/* The profiles of ~/.config/net-mesh/config.toml. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/toml.h"

static const char default_name[] = "default";

struct loading {
    struct cli_args *args;
    const char *file, *name; /* the profile wanted */
    struct profile *profile;
    bool found;
};

/* "~" and "~/..." become the user's home. False with *error. */
static bool expand(const char *text, char out[PROFILE_TEXT_MAX], struct toml_error *error)
{
    const char *scheme = strncmp(text, "unix:", 5) == 0 ? "unix:" : "", *path = text + strlen(scheme), *home = "";
    bool tilde = path[0] == '~';
    if (tilde && path[1] != '\0' && path[1] != '/') {
        snprintf(error->text, sizeof error->text, "found %.100s, allowed: ~ or ~/PATH for your own home", text);
        return false;
    }
    if (tilde && ((home = getenv("HOME")) == NULL || !*home)) {
        snprintf(error->text, sizeof error->text, "found %.100s, but HOME is not set", text);
        return false;
    }
    if ((size_t)snprintf(out, PROFILE_TEXT_MAX, "%s%s%s", scheme, home, path + tilde) < PROFILE_TEXT_MAX)
        return true;
    snprintf(error->text, sizeof error->text, "found %zu bytes, allowed: %d", strlen(text), PROFILE_TEXT_MAX - 1);
    return false;
}

static bool take_endpoint(struct loading *l, const struct toml_item *item, struct toml_error *error)
{
    if (strcmp(item->text, "in-process") == 0) /* what net-mesh 0.19 knows: no node in particular */
        return true;
    return expand(item->text, l->profile->endpoint, error);
}

static bool take_token_file(struct loading *l, const struct toml_item *item, struct toml_error *error)
{
    return expand(item->text, l->profile->token_file, error);
}

static bool take_timeout(struct loading *l, const struct toml_item *item, struct toml_error *error)
{
    if (item->integer < 1) {
        snprintf(error->text, sizeof error->text, "found %lld, allowed: milliseconds, at least 1",
                 (long long)item->integer);
        return false;
    }
    if (!cli_has(l->args, OPTION_TIMEOUT) &&
        __builtin_mul_overflow(item->integer, UINT64_C(1000000), &l->args->timeout_ns))
        l->args->timeout_ns = UINT64_MAX;
    return true;
}

struct key {
    const char *name;
    enum toml_type type;
    bool (*take)(struct loading *, const struct toml_item *, struct toml_error *); /* NULL: of no use here yet */
};
static const struct key keys[] = {
    {"endpoint", TOML_STRING, take_endpoint},
    {"token_file", TOML_STRING, take_token_file},
    {"default_timeout_ms", TOML_INTEGER, take_timeout},
    {"identity", TOML_STRING, NULL},
    {"netdb", TOML_STRING, NULL},
    {"ice_signature_threshold", TOML_INTEGER, NULL},
};

static bool take_key(struct loading *l, const struct toml_item *item, bool wanted, struct toml_error *error)
{
    static const char *const allowed[] = {"a table", "text in quotes", "an integer", "true or false"};
    const char *name = item->path[item->depth - 1];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        if (item->type != keys[i].type) {
            snprintf(error->text, sizeof error->text, "%s: allowed: %s", name, allowed[keys[i].type]);
            return false;
        }
        struct toml_error why;
        if (!wanted || !keys[i].take || keys[i].take(l, item, &why))
            return true;
        snprintf(error->text, sizeof error->text, "%s: %.200s", name, why.text);
        return false;
    }
    cli_say(l->args, SAY_WARN, "%s:%u: there is no key %s; it is ignored", l->file, item->line, name);
    return true;
}

static void note_name(struct profile *p, const char *name)
{
    size_t n;
    for (const char *known = p->known; *known; known += n + (known[n] ? 2 : 0))
        if ((n = strcspn(known, ",")) == strlen(name) && memcmp(known, name, n) == 0)
            return;
    n = strlen(p->known);
    snprintf(p->known + n, sizeof p->known - n, "%s%s", n ? ", " : "", name);
}

/* [default] and its keys, [profiles.NAME] and its keys. */
static bool take_item(void *ctx, const struct toml_item *item, struct toml_error *error)
{
    struct loading *l = ctx;
    bool is_default = strcmp(item->path[0], default_name) == 0, is_named = strcmp(item->path[0], "profiles") == 0;
    size_t depth = is_named ? 2 : 1; /* of the profile's own table */
    const char *name = is_named && item->depth >= 2 ? item->path[1] : default_name;
    if (!is_default && !is_named) {
        cli_say(l->args, SAY_WARN, "%s:%u: %s is neither [default] nor [profiles.NAME]; it is ignored", l->file,
                item->line, item->path[0]);
        return true;
    }
    if (item->type != TOML_TABLE && item->depth <= depth) {
        snprintf(error->text, sizeof error->text, "%s: allowed: a table", item->path[item->depth - 1]);
        return false;
    }
    bool wanted =
        item->depth >= depth && strcmp(name, l->name) == 0 && is_default == (strcmp(l->name, default_name) == 0);
    if (is_named && item->depth >= depth)
        note_name(l->profile, name);
    l->found |= wanted;
    return item->depth != depth + 1 || take_key(l, item, wanted, error);
}

static int unknown_profile(const struct loading *l)
{
    return cli_error(CLI_USAGE, "--profile: found %.100s, allowed: %s (of %s)", l->name, l->profile->known, l->file);
}

int profile_parse(struct cli_args *args, const char *text, size_t len, const char *file, const char *name)
{
    struct loading l = {.args = args, .file = file, .name = name, .profile = &args->profile};
    struct toml_error error;
    note_name(&args->profile, default_name);
    if (!toml_read(text, len, take_item, &l, &error))
        return error.line ? cli_error(CLI_CONFIG, "%s:%u: %s", file, error.line, error.text)
                          : cli_error(CLI_CONFIG, "%s: %s", file, error.text);
    if (!l.found && strcmp(name, default_name) != 0)
        return unknown_profile(&l);
    cli_say(args, SAY_INFO, "profile %s of %s", name, file);
    return CLI_OK;
}

/* The option, else the variable; NULL when neither says anything. */
static const char *option_or(const struct cli_args *args, enum cli_option option, const char *variable)
{
    const char *text = args->value[option] ? args->value[option] : getenv(variable);
    return text && *text ? text : NULL;
}

/* False: there is no place for it. */
static bool find_file(const struct cli_args *args, char path[PROFILE_TEXT_MAX], struct toml_error *error)
{
    static const char tail[] = "net-mesh/config.toml";
    const char *named = option_or(args, OPTION_CONFIG, "NET_MESH_CONFIG");
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (named)
        return expand(named, path, error);
    int n = xdg && xdg[0] == '/' ? snprintf(path, PROFILE_TEXT_MAX, "%s/%s", xdg, tail)
            : home && *home      ? snprintf(path, PROFILE_TEXT_MAX, "%s/.config/%s", home, tail)
                                 : PROFILE_TEXT_MAX;
    return n < PROFILE_TEXT_MAX;
}

/* Bytes read, at most TOML_SIZE_MAX + 1; -1 with errno. */
static ssize_t read_file(const char *path, char *text)
{
    size_t len = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe must not make us wait */
    if (fd < 0)
        return -1;
    ssize_t n = fstat(fd, &st);
    if (n == 0 && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : ENXIO;
        n = -1;
    }
    while (n >= 0 && len <= TOML_SIZE_MAX && (n = read(fd, text + len, TOML_SIZE_MAX + 1 - len)) > 0)
        len += (size_t)n;
    int error = errno;
    close(fd);
    errno = error;
    return n < 0 ? n : (ssize_t)len;
}

int profile_load(struct cli_args *args)
{
    char path[PROFILE_TEXT_MAX];
    struct toml_error error = {0};
    const char *name = option_or(args, OPTION_PROFILE, "NET_MESH_PROFILE");
    name = name ? name : default_name;
    bool placed = find_file(args, path, &error);
    if (!placed && *error.text)
        return cli_error(CLI_USAGE, "--config: %s", error.text);
    char *text = malloc(TOML_SIZE_MAX + 1);
    if (!text)
        return cli_error(CLI_FAILURE, "out of memory");
    ssize_t len = placed ? read_file(path, text) : 0;
    bool missing = len < 0 && (errno == ENOENT || errno == ENOTDIR);
    int code;
    if (len < 0 && !missing)
        code = cli_error(CLI_CONFIG, "%s: cannot read: %s", path, strerror(errno));
    else if (!placed || missing)
        code = strcmp(name, default_name) == 0
                   ? CLI_OK
                   : cli_error(CLI_USAGE, "--profile: found %.100s, but there is no file %s", name,
                               placed ? path : "of profiles: neither XDG_CONFIG_HOME nor HOME says where");
    else
        code = profile_parse(args, text, (size_t)len, path, name);
    free(text);
    return code;
}
