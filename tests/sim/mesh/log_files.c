#include "tests/sim/mesh/log_files.h"

#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/text.h"

static bool is_part(const char *name)
{
    return strcmp(name, "idx") == 0 || strcmp(name, "dat") == 0 || strcmp(name, "ts") == 0;
}

static bool is_copy(const char *name) /* of what a recovery cut off */
{
    return strlen(name) == 5 && (memcmp(name, "idx~", 4) == 0 || memcmp(name, "dat~", 4) == 0) && name[4] >= '1' &&
           name[4] <= '4';
}

static bool is_generation(const char *name)
{
    return strlen(name) == 11 && name[0] == 'v' && strspn(name + 1, "0123456789") == 10;
}

static bool is_moved_aside(const char *name) /* a generation that no manifest tells from a live one */
{
    return strlen(name) == 12 && name[0] == 'v' && strspn(name + 1, "0123456789") == 10 && name[11] == '~';
}

static bool is_known(const char *name)
{
    static const char *const known[] = {"log.id", "seq~", "lock~", "manifest", "producers~"};
    bool is = is_copy(name) || is_moved_aside(name);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        is = is || strcmp(name, known[i]) == 0;
    return is;
}

struct listing {
    const char *where;
    unsigned parts;
    char generation[16];
};

static int on_part(void *ctx, const struct io_dirent *e)
{
    struct listing *found = ctx;
    if (!is_part(e->name))
        cr_assert_fail("%s left in the generation %s", e->name, found->where);
    found->parts++;
    return 0;
}

static int on_name(void *ctx, const struct io_dirent *e)
{
    struct listing *found = ctx;
    if (is_generation(e->name)) {
        cr_assert_eq(found->generation[0], 0, "%s beside %s %s", e->name, found->generation, found->where);
        text_format(found->generation, sizeof found->generation, "%s", e->name);
    } else if (!is_known(e->name)) {
        cr_assert_fail("%s left %s", e->name, found->where);
    }
    return 0;
}

static uint64_t hash_of(struct sim_host *h, const char *dir, const char *part, uint64_t seed)
{
    char path[160];
    cr_assert(text_format(path, sizeof path, "%s/%s", dir, part));
    struct cspan bytes = sim_disk_get(h, path);
    cr_assert_not_null(bytes.data, "%s", path);
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

uint64_t log_files_hash(struct sim_host *h, const char *root, const char *where)
{
    struct listing found = {.where = where};
    char dir[128];
    sim_disk_list(h, root, on_name, &found);
    cr_assert(text_format(dir, sizeof dir, "%s/%s", root, found.generation));
    sim_disk_list(h, dir, on_part, &found);
    cr_assert_eq(found.parts, 3, "%u files in %s %s", found.parts, dir, where);
    return hash_of(h, dir, "idx", hash_of(h, dir, "dat", hash_of(h, dir, "ts", 0)));
}
