/* What the heap, libcrypto's part of it above all, still holds of a secret when a call has returned: nothing. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/session/noise_internal.h"
#include "core/session/session.h"
#include "tests/support/alloc_count.h"

static struct crypto *c;

static void set_up(void)
{
    if (!alloc_count_works())
        cr_skip("a sanitizer has put the heap elsewhere");
    cr_assert_eq(crypto_init(&c, NULL), NET_OK);
}

static void tear_down(void)
{
    crypto_deinit(c);
}

TestSuite(crypto_memory, .init = set_up, .fini = tear_down);

static struct cspan heap(void)
{
    struct cspan found = {0};
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    cr_assert_not_null(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t start, end;
        if (strstr(line, "[heap]") && sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2)
            found = (struct cspan){(const uint8_t *)start, end - start};
    }
    fclose(maps);
    cr_assert_gt(found.len, 0);
    return found;
}

/* The bytes themselves, or as HMAC's inner and outer hash begin with them. All of a test's own stand on the stack. */
static void expect_nowhere(const uint8_t secret[32], const char *what)
{
    static const uint8_t masks[] = {0, 0x36, 0x5c};
    for (size_t m = 0; m < sizeof masks; m++) {
        uint8_t needle[32];
        for (size_t i = 0; i < sizeof needle; i++)
            needle[i] = secret[i] ^ masks[m];
        struct cspan all = heap();
        cr_expect_null(memmem(all.data, all.len, needle, sizeof needle), "%s, under 0x%02x", what, masks[m]);
    }
}

static void fill(uint8_t out[32], uint8_t first)
{
    for (uint8_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(first + 7 * i);
}

/* RFC 2104, of an empty message. */
static void hmac_of_nothing(const uint8_t key[32], uint8_t out[32])
{
    uint8_t inner[64], outer[64];
    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (size_t i = 0; i < 32; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    struct cspan parts[] = {{inner, 64}}, outer_parts[] = {{outer, 64}, {out, 32}};
    blake2s(c, NULL, 0, parts, 1, out);
    blake2s(c, NULL, 0, outer_parts, 2, out);
}

Test(crypto_memory, a_secret_is_found)
{
    uint8_t secret[32], *copy = malloc(32);
    fill(secret, 9);
    memcpy(copy, secret, 32);
    struct cspan all = heap();
    cr_expect_not_null(memmem(all.data, all.len, secret, sizeof secret));
    free(copy);
}

Test(crypto_memory, the_key_of_a_passed_epoch)
{
    uint8_t old[32], key[32];
    fill(old, 1);
    memcpy(key, old, sizeof key);
    session_next_epoch_key(c, key, 1);
    cr_expect_arr_neq(key, old, sizeof key);
    expect_nowhere(old, "the key of the epoch before");
}

/* All keys of a session follow from what HKDF extracts from the chaining key. */
Test(crypto_memory, the_split_of_a_handshake)
{
    struct noise n = {0};
    uint8_t extracted[32], keys[2][32];
    fill(n.ck, 2);
    hmac_of_nothing(n.ck, extracted);
    noise_split(&n, c, keys);
    expect_nowhere(n.ck, "the chaining key");
    expect_nowhere(extracted, "the extracted key");
    expect_nowhere(keys[0], "a session key");
    expect_nowhere(keys[1], "a session key");
}

Test(crypto_memory, private_keys)
{
    uint8_t secret[32], seed[32], point[32], shared[32], signature[64];
    fill(secret, 3);
    fill(seed, 4);
    x25519_public(secret, point);
    cr_assert(x25519(secret, point, shared));
    ed25519_public(seed, point);
    ed25519_sign(seed, (struct cspan){point, sizeof point}, signature);
    expect_nowhere(secret, "the exchange's secret");
    expect_nowhere(shared, "the shared secret");
    expect_nowhere(seed, "the signer's seed");
}

Test(crypto_memory, the_key_of_a_context_given_back)
{
    uint8_t key[32], nonce[12] = {0}, text[64] = {0}, tag[16];
    fill(key, 5);
    for (int suite = AEAD_CHACHA20_POLY1305; suite <= AEAD_AES_256_GCM; suite++) {
        struct aead *a = aead_new(c, (enum aead_suite)suite, key);
        cr_assert_not_null(a);
        aead_seal(a, nonce, NULL, 0, text, text, sizeof text, tag);
        aead_free(c, a);
    }
    expect_nowhere(key, "the key of a context in the pool");
}
