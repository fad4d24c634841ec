/* Make before break, confirmation, silence: extensions X1, session.md 10 and 18. Time is an argument. */
#include <criterion/criterion.h>

#include "core/session/link.h"

#define S UINT64_C(1000000000)

static const struct link_config config = {
    .heartbeat_interval_ns = 5 * S,
    .session_timeout_ns = 30 * S,
    .handshake_timeout_ns = 5 * S,
    .rekey_interval_ns = 86400 * S,
};

static struct crypto *crypto;
static struct link l;

static void start(void)
{
    cr_assert_eq(crypto_init(&crypto, NULL), 0);
    link_init(&l, &config, 10, 20, 0); /* we are the smaller id */
}

static void end(void)
{
    link_deinit(&l, crypto);
    crypto_deinit(crypto);
}

TestSuite(link, .init = start, .fini = end);

static struct session_params params(uint64_t rx_id, bool initiator, bool secure)
{
    return (struct session_params){
        .peer_node_id = 20,
        .rx_id = rx_id,
        .tx_id = rx_id + 1000,
        .features = secure ? FEATURE_SECURE | FEATURE_EPOCHS : 0,
        .initiator = initiator,
    };
}

static bool install(uint64_t rx_id, bool initiator, bool secure, uint64_t now)
{
    bool promoted;
    struct session_params p = params(rx_id, initiator, secure);
    cr_assert(link_install(&l, crypto, &p, now, &promoted));
    return promoted;
}

static enum link_event hear(uint64_t rx_id, uint64_t now)
{
    struct session *s = link_find(&l, rx_id);
    cr_assert_not_null(s);
    return link_on_authenticated(&l, crypto, s, now);
}

Test(link, a_responder_says_nothing_before_it_is_confirmed)
{
    cr_assert_not(install(1, false, true, 0));
    cr_assert_null(link_tx(&l));
    cr_assert_eq(link_on_tick(&l, crypto, S), LINK_WANT_NOTHING);
    cr_assert_eq(hear(1, S), LINK_PROMOTED);
    cr_assert_eq(link_tx(&l)->p.rx_id, 1);
    cr_assert_eq(link_deadline(&l), 0, "the initiator is owed a heartbeat at once");
    cr_assert_eq(link_on_tick(&l, crypto, S), LINK_WANT_HEARTBEAT);
}

Test(link, a_responder_answers_again_while_the_initiator_repeats_itself)
{
    install(1, false, true, 0);
    cr_assert_eq(hear(1, 0), LINK_PROMOTED);
    cr_assert_eq(link_on_tick(&l, crypto, 0), LINK_WANT_HEARTBEAT);
    link_on_sent(&l, 0); /* and it is lost */
    hear(1, S / 4);
    cr_assert_eq(link_deadline(&l), 0);
    cr_assert_eq(link_on_tick(&l, crypto, S / 4), LINK_WANT_HEARTBEAT);
    link_on_sent(&l, S / 4);
    hear(1, S / 4 + 1);
    cr_assert_eq(link_on_tick(&l, crypto, S / 4 + 1), LINK_WANT_NOTHING, "not for every packet");
    hear(1, 6 * S);
    cr_assert_neq(link_deadline(&l), 0, "nor for ever");
}

Test(link, an_initiator_asks_for_confirmation_every_250_ms)
{
    cr_assert_not(install(1, true, true, 0));
    cr_assert_eq(link_on_tick(&l, crypto, 0), LINK_WANT_CONFIRM);
    cr_assert_eq(link_on_tick(&l, crypto, S / 5), LINK_WANT_NOTHING);
    cr_assert_eq(link_deadline(&l), S / 4);
    cr_assert_eq(link_on_tick(&l, crypto, S / 4), LINK_WANT_CONFIRM);
    cr_assert_eq(hear(1, S / 3), LINK_PROMOTED);
    cr_assert_eq(link_on_tick(&l, crypto, S / 2), LINK_WANT_NOTHING, "no answer is owed to a responder");
}

Test(link, an_unconfirmed_session_is_given_up_and_the_old_one_stays)
{
    install(1, false, true, 0);
    hear(1, 0);
    install(2, false, true, S);
    cr_assert_eq(link_tx(&l)->p.rx_id, 1);
    link_on_tick(&l, crypto, 6 * S);
    cr_assert_null(link_find(&l, 2));
    cr_assert_eq(link_tx(&l)->p.rx_id, 1);
}

Test(link, stragglers_of_the_old_session_open_for_three_seconds)
{
    install(1, false, true, 0);
    hear(1, 0);
    install(2, false, true, S);
    cr_assert_eq(hear(2, 2 * S), LINK_PROMOTED);
    cr_assert_eq(hear(1, 3 * S), LINK_NOTHING);
    cr_assert_eq(link_tx(&l)->p.rx_id, 2);
    link_on_tick(&l, crypto, 5 * S);
    cr_assert_null(link_find(&l, 1));
}

Test(link, of_a_simultaneous_open_the_smaller_ids_handshake_stays)
{
    bool promoted;
    struct session_params theirs = params(2, false, true);
    install(1, true, true, 0); /* ours, and we are the smaller */
    cr_assert_not(link_install(&l, crypto, &theirs, 0, &promoted));
    cr_assert_not_null(link_find(&l, 1));

    struct link other; /* the larger id holds its own attempt and takes the smaller's */
    link_init(&other, &config, 20, 10, 0);
    struct session_params own = params(3, true, true), smaller = params(4, false, true);
    cr_assert(link_install(&other, crypto, &own, 0, &promoted));
    cr_assert(link_install(&other, crypto, &smaller, 0, &promoted));
    cr_assert_null(link_find(&other, 3));
    cr_assert_not_null(link_find(&other, 4));
    link_deinit(&other, crypto);
}

Test(link, v019_sessions_are_in_use_at_once_unless_they_replace_one)
{
    cr_assert(install(1, false, false, 0));
    cr_assert_not(install(2, false, false, S), "a replayed msg1 displaces nothing");
    cr_assert_eq(link_tx(&l)->p.rx_id, 1);
    cr_assert(install(3, true, false, 2 * S), "what we dialled, the other end has already");
    cr_assert_eq(link_tx(&l)->p.rx_id, 3);
}

Test(link, three_silent_intervals_while_sending_ask_for_a_new_handshake_once)
{
    install(1, false, true, 0);
    hear(1, 0);
    cr_assert_eq(link_on_tick(&l, crypto, 0), LINK_WANT_HEARTBEAT);
    link_on_sent(&l, 0 + 1);
    cr_assert_not(link_silent(&l, 15 * S));
    cr_assert(link_silent(&l, 15 * S + 2));
    cr_assert(link_on_tick(&l, crypto, 16 * S) & LINK_WANT_REDIAL);
    cr_assert_not(link_on_tick(&l, crypto, 17 * S) & LINK_WANT_REDIAL);
    cr_assert(link_on_tick(&l, crypto, 22 * S) & LINK_WANT_REDIAL);
}

Test(link, silence_without_sending_is_no_silence)
{
    install(1, false, true, 0);
    hear(1, 0);
    cr_assert_not(link_silent(&l, 60 * S));
}

Test(link, fails_once_after_three_session_timeouts_and_recovers)
{
    install(1, false, true, 0);
    hear(1, 0);
    link_on_sent(&l, 1);
    cr_assert_not(link_on_tick(&l, crypto, 90 * S) & LINK_WANT_FAIL);
    cr_assert(link_on_tick(&l, crypto, 90 * S + 1) & LINK_WANT_FAIL);
    cr_assert_not(link_on_tick(&l, crypto, 96 * S) & LINK_WANT_FAIL);
    cr_assert_eq(hear(1, 97 * S), LINK_RECOVERED);
    cr_assert_not(link_silent(&l, 97 * S));
}

Test(link, shorter_timers_bring_forward_what_is_due)
{
    struct link_config changing = config;
    l.config = &changing;
    cr_assert_not(install(1, false, true, 0));
    cr_assert_eq(hear(1, 1 * S), LINK_PROMOTED);
    link_on_tick(&l, crypto, 1 * S);
    cr_assert_eq(link_deadline(&l), 6 * S, "a heartbeat");
    cr_assert_not(install(2, false, true, 2 * S));
    changing.heartbeat_interval_ns = changing.handshake_timeout_ns = 1 * S;
    link_on_config(&l, 3 * S);
    cr_assert_eq(link_deadline(&l), 4 * S);
    cr_expect_eq(link_on_tick(&l, crypto, 4 * S) & LINK_WANT_HEARTBEAT, LINK_WANT_HEARTBEAT);
    cr_expect_null(link_find(&l, 2), "the unconfirmed one was given up");
    changing.heartbeat_interval_ns = 60 * S;
    link_on_config(&l, 4 * S);
    cr_assert_eq(link_deadline(&l), 5 * S, "longer ones count from the next on");
    link_on_tick(&l, crypto, 5 * S);
    cr_assert_eq(link_deadline(&l), 65 * S);
}

Test(link, a_day_old_session_is_renewed)
{
    install(1, false, true, 0);
    hear(1, 0);
    hear(1, 86400 * S);
    cr_assert_not(link_on_tick(&l, crypto, 86400 * S) & LINK_WANT_REDIAL);
    cr_assert(link_on_tick(&l, crypto, 86400 * S + 1) & LINK_WANT_REDIAL);
}
