#include "core/session/link.h"

#include <assert.h>

#include "core/base/timer.h"

static const uint64_t STRAGGLER_NS = UINT64_C(3000000000);

void link_init(struct link *l, const struct link_config *config, uint64_t self_id, uint64_t peer_id, uint64_t now)
{
    *l = (struct link){
        .config = config,
        .self_id = self_id,
        .peer_id = peer_id,
        .last_rx = now,
        .heartbeat_at = UINT64_MAX,
        .confirm_at = UINT64_MAX,
    };
}

static void slot_drop(struct link_slot *slot, struct crypto *crypto)
{
    if (slot->used)
        session_deinit(&slot->session, crypto);
    slot->used = false;
}

void link_deinit(struct link *l, struct crypto *crypto)
{
    slot_drop(&l->current, crypto);
    slot_drop(&l->next, crypto);
    slot_drop(&l->previous, crypto);
}

void link_forget_previous(struct link *l, struct crypto *crypto)
{
    slot_drop(&l->previous, crypto);
}

static void slot_fill(struct link_slot *slot, const struct session_params *params, uint64_t now, uint64_t until)
{
    session_init(&slot->session, params);
    slot->used = true;
    slot->since = now;
    slot->until = until;
}

static void promote(struct link *l, struct crypto *crypto, uint64_t now)
{
    slot_drop(&l->previous, crypto);
    if (l->current.used) {
        l->previous = l->current;
        l->previous.until = now + STRAGGLER_NS;
    }
    l->current = l->next;
    /* The moved-from slot still holds key bytes; wipe them without touching what `current` now owns. */
    secure_wipe(&l->next.session, sizeof l->next.session);
    l->next.used = false;
    l->current_since = now;
    l->heartbeat_at = now + l->config->heartbeat_interval_ns;
    l->confirm_at = UINT64_MAX;
    l->redial_at = 0;
    l->last_rx = now;
    l->first_unanswered_tx = 0;
    l->failed = false;
}

/* Which of two unconfirmed sessions both ends keep: the one the smaller node id initiated. */
static bool loses_simultaneous_open(const struct link *l, const struct session_params *params)
{
    if (!l->next.used || l->next.session.p.initiator == params->initiator)
        return false; /* a retry of the same side replaces the older attempt */
    bool we_are_smaller = l->self_id < l->peer_id;
    return params->initiator != we_are_smaller;
}

bool link_install(struct link *l, struct crypto *crypto, const struct session_params *params, uint64_t now,
                  bool *promoted)
{
    *promoted = false;
    if (loses_simultaneous_open(l, params))
        return false;
    slot_drop(&l->next, crypto);
    slot_fill(&l->next, params, now, now + l->config->handshake_timeout_ns);
    bool secure = (params->features & FEATURE_SECURE) != 0;
    if (!secure && (params->initiator || !l->current.used)) {
        promote(l, crypto, now);
        *promoted = true;
        return true;
    }
    l->confirm_at = params->initiator ? now : UINT64_MAX;
    return true;
}

struct session *link_find(struct link *l, uint64_t rx_id)
{
    struct link_slot *slots[] = {&l->current, &l->next, &l->previous};
    for (size_t i = 0; i < 3; i++)
        if (slots[i]->used && slots[i]->session.p.rx_id == rx_id)
            return &slots[i]->session;
    return NULL;
}

enum link_event link_on_authenticated(struct link *l, struct crypto *crypto, struct session *s, uint64_t now)
{
    bool was_failed = l->failed;
    bool promoted = s == &l->next.session;
    if (promoted) {
        bool initiator = s->p.initiator;
        promote(l, crypto, now);
        l->answer = !initiator;
    }
    /* An initiator repeats itself until it is answered: what we sent may have been lost. */
    if (!promoted && s == &l->current.session && session_secure(s) && !s->p.initiator &&
        now - l->current_since < l->config->handshake_timeout_ns && now - l->last_tx >= LINK_CONFIRM_NS / 2)
        l->answer = true;
    l->last_rx = now;
    l->first_unanswered_tx = 0;
    l->failed = false;
    return promoted ? LINK_PROMOTED : was_failed ? LINK_RECOVERED : LINK_NOTHING;
}

void link_on_sent(struct link *l, uint64_t now)
{
    l->last_tx = now;
    if (l->first_unanswered_tx == 0)
        l->first_unanswered_tx = now;
}

struct session *link_tx(struct link *l)
{
    return l->current.used ? &l->current.session : NULL;
}

bool link_silent(const struct link *l, uint64_t now)
{
    return l->first_unanswered_tx != 0 && now - l->first_unanswered_tx > 3 * l->config->heartbeat_interval_ns &&
           now - l->last_rx > 3 * l->config->heartbeat_interval_ns;
}

static bool wants_redial(const struct link *l, uint64_t now)
{
    if (!l->current.used)
        return false; /* the dialer knows by itself */
    if (now < l->redial_at || l->next.used)
        return false;
    const struct session *s = &l->current.session;
    if (link_silent(l, now))
        return true;
    return session_secure(s) && (session_wants_rekey(s) || now - l->current_since > l->config->rekey_interval_ns);
}

void link_on_config(struct link *l, uint64_t now)
{
    l->heartbeat_at = timer_earlier(l->heartbeat_at, now + l->config->heartbeat_interval_ns);
    if (l->next.used)
        l->next.until = timer_earlier(l->next.until, now + l->config->handshake_timeout_ns);
}

unsigned link_on_tick(struct link *l, struct crypto *crypto, uint64_t now)
{
    unsigned want = 0;
    if (l->next.used && now >= l->next.until) {
        slot_drop(&l->next, crypto);
        l->confirm_at = UINT64_MAX;
    }
    if (l->previous.used && now >= l->previous.until)
        slot_drop(&l->previous, crypto);
    if (l->next.used && now >= l->confirm_at) {
        l->confirm_at = now + LINK_CONFIRM_NS;
        want |= LINK_WANT_CONFIRM;
    }
    if (l->current.used && (l->answer || now >= l->heartbeat_at)) {
        l->answer = false;
        l->heartbeat_at = now + l->config->heartbeat_interval_ns;
        want |= LINK_WANT_HEARTBEAT;
    }
    if (wants_redial(l, now)) {
        l->redial_at = now + l->config->handshake_timeout_ns;
        want |= LINK_WANT_REDIAL;
    }
    if (l->current.used && !l->failed && now - l->last_rx > 3 * l->config->session_timeout_ns) {
        l->failed = true;
        want |= LINK_WANT_FAIL;
    }
    return want;
}

uint64_t link_deadline(const struct link *l)
{
    uint64_t at = UINT64_MAX;
    if (l->answer && l->current.used)
        return 0;
    if (l->next.used)
        at = timer_earlier(l->next.until, l->confirm_at);
    if (l->previous.used)
        at = timer_earlier(at, l->previous.until);
    if (l->current.used) /* silence, re-keying and failure are looked at with every heartbeat */
        at = timer_earlier(at, l->heartbeat_at);
    return at;
}
