/*
 * What sealing one packet costs by suite and make: new nonce, 52-byte AAD, in place, tag. Ratios to ChaCha20-Poly1305
 * by libcrypto at the same size, all measured in this run (extensions X6); and what a handshake's pieces cost beside
 * it.
 *
 *   bench_aead [SIZE...]      with sizes: only the suite a node of ours would use here, a JSON line
 */
#include <assert.h>

#include "bench/measure.h"
#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "core/wire/wire.h"

enum { ROUNDS = 9, SIZES = 8, MAKES = 3 };

/* Plaintext bytes: from the command line, or these. */
struct sizes {
    size_t count, bytes[SIZES];
};
static const struct sizes usual = {3, {64, 1392, 8112}};

static double seal_ns(struct aead *a, uint8_t *packet, size_t len)
{
    uint8_t nonce[WIRE_NONCE] = {0}, aad[WIRE_AAD] = {0};
    size_t count = 4000000 / (len + 200);
    uint64_t start = now_ns();
    for (size_t i = 0; i < count; i++) {
        store_le64(nonce + 4, i);
        aead_seal(a, nonce, aad, sizeof aad, packet, packet, len, packet + len);
    }
    return (double)(now_ns() - start) / (double)count;
}

struct make {
    const char *name;
    struct crypto *crypto;
    enum aead_suite suite;
    double best[SIZES];
};

/* The makes take turns, so that a noisy neighbour hits all of them; the best round of each counts. */
static void measure(struct make *makes, size_t count, const struct sizes *sizes)
{
    static uint8_t packet[WIRE_MAX_PACKET];
    const uint8_t key[32] = {1};
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t m = 0; m < count; m++) {
            struct aead *a = aead_new(makes[m].crypto, makes[m].suite, key);
            assert(a);
            for (size_t s = 0; s < sizes->count; s++) {
                double ns = seal_ns(a, packet, sizes->bytes[s]);
                if (round == 0 || ns < makes[m].best[s])
                    makes[m].best[s] = ns;
            }
            aead_free(makes[m].crypto, a);
        }
    }
}

static void print(const struct make *makes, size_t count, const struct sizes *sizes)
{
    printf("%-32s", "seal, ratio (ns)");
    for (size_t s = 0; s < sizes->count; s++)
        printf("%13zu B  ", sizes->bytes[s]);
    printf("\n");
    for (size_t m = 0; m < count; m++) {
        printf("%-32s", makes[m].name);
        for (size_t s = 0; s < sizes->count; s++)
            printf("%8.2f (%5.0f) ", makes[m].best[s] / makes[0].best[s], makes[m].best[s]);
        printf("\n");
    }
}

static double best_of(void (*call)(struct crypto *), struct crypto *c, int count)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        for (int i = 0; i < count; i++)
            call(c);
        double ns = (double)(now_ns() - start) / count;
        if (round == 0 || ns < best)
            best = ns;
    }
    return best;
}

static void gate(struct crypto *c)
{
    static const uint8_t key[32], msg1[212];
    const struct cspan part = {msg1, sizeof msg1};
    uint8_t out[32];
    blake2s(c, key, 32, &part, 1, out);
}

static void exchange(struct crypto *c)
{
    static const uint8_t secret[32] = {1}, nine[32] = {9};
    uint8_t out[32];
    (void)c;
    bool ok = x25519(secret, nine, out);
    assert(ok);
}

static void prove(struct crypto *c)
{
    static const uint8_t seed[32];
    uint8_t out[64];
    (void)c;
    ed25519_sign(seed, (struct cspan){seed, 32}, out);
}

static void print_json(const struct make *make, const struct sizes *sizes)
{
    printf("{\"suite\":\"%s\",\"seal_ns\":{", make->name);
    for (size_t s = 0; s < sizes->count; s++)
        printf("%s\"%zu\":%.1f", s ? "," : "", sizes->bytes[s], make->best[s]);
    printf("}}\n");
}

static struct sizes read_sizes(int argc, char **argv)
{
    struct sizes s = {0};
    for (int i = 1; i < argc && s.count < SIZES; i++) {
        s.bytes[s.count] = strtoul(argv[i], NULL, 10);
        assert(s.bytes[s.count] > 0 && s.bytes[s.count] <= WIRE_MAX_PLAINTEXT);
        s.count++;
    }
    return s;
}

int main(int argc, char **argv)
{
    const struct crypto_options options = {.no_ipsec_mb = true};
    struct crypto *plain, *fast;
    int err = crypto_init(&plain, &options);
    assert(err == NET_OK);
    err = crypto_init(&fast, NULL);
    assert(err == NET_OK);
    struct make makes[MAKES] = {
        {.name = "ChaCha20-Poly1305, libcrypto", .crypto = plain, .suite = AEAD_CHACHA20_POLY1305},
        {.name = "AES-256-GCM, libcrypto", .crypto = plain, .suite = AEAD_AES_256_GCM},
        {.name = "AES-256-GCM, intel-ipsec-mb", .crypto = fast, .suite = AEAD_AES_256_GCM}};
    size_t count = crypto_uses_ipsec_mb(fast) ? MAKES : MAKES - 1;
    const struct sizes given = read_sizes(argc, argv);
    if (given.count) {
        struct make *ours = &makes[crypto_has_fast_aes() ? count - 1 : 0];
        measure(ours, 1, &given);
        print_json(ours, &given);
        crypto_deinit(plain);
        crypto_deinit(fast);
        return 0;
    }
    measure(makes, count, &usual);
    print(makes, count, &usual);
    double hash = best_of(gate, plain, 20000);
    printf("\nhandshake, ratio to the gate's keyed BLAKE2s over a msg1 (%.0f ns): X25519 %.0f, Ed25519 sign %.0f\n",
           hash, best_of(exchange, plain, 200) / hash, best_of(prove, plain, 200) / hash);
    crypto_deinit(plain);
    crypto_deinit(fast);
    return 0;
}
