/* init: what stands in a node's directory, and that keys are never replaced. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "core/identity/identity.h"
#include "shards/config/config.h"

static char base[64];

static void set_up(void)
{
    strcpy(base, "/tmp/nm-node-dir-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    cr_assert_eq(system(command), 0);
}

TestSuite(node_dir, .init = set_up, .fini = tear_down);

static const char *path(const char *rest)
{
    static char text[4][256];
    static int next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof text[0], "%s/%s", base, rest);
    return out;
}

static size_t read_file(const char *name, char *out, size_t room)
{
    FILE *f = fopen(name, "r");
    size_t n = f ? fread(out, 1, room - 1, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
    return n;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(name, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    cr_assert_eq(chmod(name, mode), 0);
}

static int create(const char *dir, const char *psk_file, bool force, struct config_error *e)
{
    struct node_dir_init init = {.dir = dir, .psk_file = psk_file, .force = force};
    memset(e, 0, sizeof *e);
    return node_dir_create(&init, e);
}

static unsigned entries(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n - 2;
}

Test(node_dir, holds_what_the_issue_lists)
{
    static const char *const secrets[] = {"n/identity", "n/noise.key", "n/psk", "n/admin.token", "n/readonly.token"};
    struct config_error e;
    struct config c;
    struct node_secrets s;
    struct stat st;
    char text[256];
    cr_assert_eq(create(path("n"), NULL, false, &e), NET_OK, "%s", e.text);
    cr_expect(stat(path("n"), &st) == 0 && (st.st_mode & 0777) == 0700);
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        cr_expect(stat(path(secrets[i]), &st) == 0 && (st.st_mode & 0777) == 0600, "%s", secrets[i]);
        cr_expect_eq(read_file(path(secrets[i]), text, sizeof text), 65);
        cr_expect_eq(strspn(text, "0123456789abcdef"), 64);
        cr_expect_eq(text[64], '\n');
    }
    cr_expect(stat(path("n/redex"), &st) == 0 && S_ISDIR(st.st_mode));
    cr_expect(stat(path("n/redex-from"), &st) == 0 && S_ISDIR(st.st_mode));
    cr_expect(stat(path("n/redex-follow"), &st) == 0 && S_ISDIR(st.st_mode));
    cr_expect_eq(entries(path("n")), 9);
    cr_expect_eq(config_load(path("n"), NULL, 0, &c, &e), NET_OK, "%s", e.text);
    cr_expect_eq(node_dir_load_secrets(path("n"), &s, &e), NET_OK, "%s", e.text);
    cr_expect_eq(strlen(s.tokens.admin), 64);
    cr_expect_eq(strlen(s.tokens.readonly), 64);
    cr_expect_str_neq(s.tokens.admin, s.tokens.readonly);
    cr_expect(memcmp(s.seed, s.psk, 32) != 0 && memcmp(s.seed, s.static_secret, 32) != 0);
    struct crypto *crypto;
    struct identity id;
    cr_assert_eq(crypto_init(&crypto, NULL), NET_OK);
    cr_expect_eq(identity_init(&id, crypto, s.seed), NET_OK, "an identity a node may have");
    crypto_deinit(crypto);
    node_secrets_wipe(&s);
    static const struct node_secrets zeros;
    cr_expect_eq(memcmp(&s, &zeros, sizeof s), 0);
}

Test(node_dir, keys_are_never_replaced)
{
    struct config_error e;
    char before[256], after[256], yaml[64];
    cr_assert_eq(create(path("n"), NULL, false, &e), NET_OK);
    read_file(path("n/identity"), before, sizeof before);
    cr_expect_eq(create(path("n"), NULL, false, &e), NET_ERR_EXISTS);
    cr_expect_not_null(strstr(e.text, "--force rewrites node.yaml, never keys or logs"));

    write_file(path("n/node.yaml"), "broken: [", 0600);
    cr_expect_eq(create(path("n"), NULL, true, &e), NET_OK, "%s", e.text);
    read_file(path("n/identity"), after, sizeof after);
    cr_expect_str_eq(before, after);
    read_file(path("n/node.yaml"), yaml, sizeof yaml);
    cr_expect_eq(strncmp(yaml, "# net-mesh node configuration", 29), 0);
    cr_expect_eq(entries(path("n")), 9, "nothing is left beside the files");

    cr_assert_eq(unlink(path("n/psk")), 0);
    cr_expect_eq(create(path("n"), NULL, true, &e), NET_OK);
    cr_expect_neq(access(path("n/psk"), F_OK), 0, "--force makes node.yaml only, no key");
}

Test(node_dir, one_old_key_is_enough_to_refuse)
{
    struct config_error e;
    cr_assert_eq(mkdir(path("n"), 0700), 0);
    write_file(path("n/noise.key"), "x", 0600);
    cr_expect_eq(create(path("n"), NULL, false, &e), NET_ERR_EXISTS);
    cr_expect_eq(entries(path("n")), 1);
}

Test(node_dir, an_existing_directory_that_is_no_node_is_used)
{
    struct config_error e;
    cr_assert_eq(mkdir(path("n"), 0700), 0);
    cr_expect_eq(create(path("n"), NULL, true, &e), NET_OK, "%s", e.text);
    cr_expect_eq(entries(path("n")), 9);
}

Test(node_dir, psk_of_another_node)
{
    struct config_error e;
    char a[256], b[256];
    cr_assert_eq(create(path("a"), NULL, false, &e), NET_OK);
    cr_assert_eq(create(path("b"), path("a/psk"), false, &e), NET_OK, "%s", e.text);
    read_file(path("a/psk"), a, sizeof a);
    read_file(path("b/psk"), b, sizeof b);
    cr_expect_str_eq(a, b);
    cr_assert_eq(create(path("c"), NULL, false, &e), NET_OK);
    cr_expect_eq(create(path("c"), path("a/psk"), true, &e), NET_ERR_EXISTS, "--force does not change the psk");
    cr_expect_eq(create(path("b"), path("a/psk"), true, &e), NET_OK, "%s", e.text);
}

Test(node_dir, a_failed_init_leaves_nothing)
{
    struct config_error e;
    write_file(path("bad"), "not hex\n", 0600);
    cr_expect_eq(create(path("n"), path("bad"), false, &e), NET_ERR_INVALID);
    cr_expect_neq(access(path("n"), F_OK), 0);
    struct node_dir_init init = {
        .dir = path("n"), .overrides = (const char *const[]){"shards.count=x"}, .override_count = 1};
    cr_expect_eq(node_dir_create(&init, &e), NET_ERR_INVALID);
    cr_expect_neq(access(path("n"), F_OK), 0);
    cr_expect_eq(create(path("no/such"), NULL, false, &e), NET_ERR_IO);
}

Test(node_dir, secrets_others_can_read_are_refused)
{
    struct config_error e;
    struct node_secrets s;
    char expected[512];
    cr_assert_eq(create(path("n"), NULL, false, &e), NET_OK);
    cr_assert_eq(chmod(path("n/psk"), 0640), 0);
    cr_expect_eq(node_dir_load_secrets(path("n"), &s, &e), NET_ERR_INVALID);
    snprintf(expected, sizeof expected,
             "%s: found mode 0640, which lets others at a secret, allowed: 0600 (chmod 600 %s)", path("n/psk"),
             path("n/psk"));
    cr_expect_str_eq(e.text, expected);
}

Test(node_dir, malformed_secrets)
{
    static const char *const bad[] = {"",
                                      "\n",
                                      "0123",
                                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n",
                                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefg",
                                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n",
                                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg\n"};
    struct config_error e;
    char token[65];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(path("t"), bad[i], 0600);
        cr_expect_eq(admin_token_load(path("t"), token, &e), NET_ERR_INVALID, "%zu", i);
        cr_expect_null(strstr(e.text, "0123"), "a secret is never shown: %s", e.text);
    }
    write_file(path("t"), "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF", 0600);
    cr_expect_eq(admin_token_load(path("t"), token, &e), NET_OK);
    cr_expect_str_eq(token, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF");
    cr_expect_eq(admin_token_load(path("none"), token, &e), NET_ERR_NOT_FOUND);
    cr_expect_eq(admin_token_load(base, token, &e), NET_ERR_INVALID, "a directory");
}

/* A pipe would keep whoever opens it waiting for a writer. */
Test(node_dir, only_files_are_read, .timeout = 10)
{
    struct config_error e;
    struct config c;
    struct peers_file peers;
    cr_assert(mkdir(path("n"), 0700) == 0 && mkfifo(path("n/psk"), 0600) == 0);
    cr_assert(mkfifo(path("n/node.yaml"), 0600) == 0 && mkfifo(path("n/peers.yaml"), 0600) == 0);
    cr_expect_eq(create(path("m"), path("n/psk"), false, &e), NET_ERR_INVALID);
    cr_expect_not_null(strstr(e.text, "/n/psk: found something that is not a file"), "%s", e.text);
    cr_expect_eq(config_load(path("n"), NULL, 0, &c, &e), NET_ERR_INVALID);
    cr_expect_not_null(strstr(e.text, "/n/node.yaml: found something that is not a file"), "%s", e.text);
    cr_expect_eq(peers_file_load(path("n"), &peers, &e), NET_ERR_INVALID);
    cr_expect_not_null(strstr(e.text, "/n/peers.yaml: found something that is not a file"), "%s", e.text);
}

/* libyaml takes time in the square of the depth: what is no configuration ends early. */
Test(node_dir, a_large_node_yaml_is_refused)
{
    static char text[(64 << 10) + 2];
    struct config_error e;
    struct config c;
    memset(text, '#', sizeof text - 1);
    cr_assert_eq(mkdir(path("n"), 0700), 0);
    write_file(path("n/node.yaml"), text, 0600);
    cr_expect_eq(config_load(path("n"), NULL, 0, &c, &e), NET_ERR_TOO_LARGE);
    cr_expect_not_null(strstr(e.text, "/n/node.yaml: found more than 65536 bytes"), "%s", e.text);
    write_file(path("n/node.yaml"), text + 1, 0600);
    cr_expect_eq(config_load(path("n"), NULL, 0, &c, &e), NET_OK, "%s", e.text);
}

Test(node_dir, missing_node_yaml)
{
    struct config_error e;
    struct config c;
    cr_expect_eq(config_load(path("none"), NULL, 0, &c, &e), NET_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(e.text, "/none/node.yaml: cannot open: No such file or directory"));
}

/* A directory made before there were two, or whose owner removed it. */
Test(node_dir, a_readonly_token_may_be_missing_but_not_exposed)
{
    struct config_error e;
    struct node_tokens t;
    struct node_secrets s;
    cr_assert_eq(create(path("n"), NULL, false, &e), NET_OK, "%s", e.text);
    cr_assert_eq(chmod(path("n/readonly.token"), 0640), 0);
    cr_expect_eq(node_dir_load_tokens(path("n"), &t, &e), NET_ERR_INVALID);
    cr_expect_not_null(strstr(e.text, "readonly.token"));
    cr_assert_eq(unlink(path("n/readonly.token")), 0);
    cr_expect_eq(node_dir_load_tokens(path("n"), &t, &e), NET_OK, "%s", e.text);
    cr_expect_eq(strlen(t.admin), 64);
    cr_expect_str_empty(t.readonly);
    cr_expect_eq(node_dir_load_secrets(path("n"), &s, &e), NET_OK, "%s", e.text);
    cr_expect_str_eq(s.tokens.admin, t.admin);
    cr_assert_eq(unlink(path("n/admin.token")), 0);
    cr_expect_eq(node_dir_load_tokens(path("n"), &t, &e), NET_ERR_NOT_FOUND);
}
