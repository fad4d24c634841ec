/* Who may ask: no web page (Origin, Sec-Fetch-Site, Host), and only who has a token that suffices. */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/admin/admin_internal.h"

static bool all_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

static bool is_literal(int family, const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr out;
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, &out) == 1;
}

/* HOST or HOST:PORT where HOST is an address or localhost: a name could be made to lead here by whoever owns it. */
static bool host_is_local(const char *host, size_t len)
{
    const char *end = host + len;
    const char *at;
    bool literal;
    if (len && host[0] == '[') {
        at = memchr(host, ']', len);
        if (!at)
            return false;
        literal = is_literal(AF_INET6, host + 1, (size_t)(at - host) - 1);
        at++;
    } else {
        at = memchr(host, ':', len);
        if (!at)
            at = end;
        size_t n = (size_t)(at - host);
        literal = is_literal(AF_INET, host, n) || (n == 9 && strncasecmp(host, "localhost", 9) == 0);
    }
    if (at == end)
        return literal;
    return literal && *at == ':' && end - at <= 6 && all_digits(at + 1, (size_t)(end - at) - 1);
}

static bool refuse(struct connection *c, unsigned status, const char *code, const char *message, const char *headers)
{
    respond_refusal(c, status, code, message, headers);
    return false;
}

/* RFC 9112 3.2.2: an absolute target is taken as its path, and its authority is the Host that counts. */
static bool take_authority(struct connection *c)
{
    struct request *r = &c->request;
    if (r->target_len < 7 || strncasecmp(r->target, "http://", 7) != 0)
        return true;
    const char *host = r->target + 7;
    const char *end = r->target + r->target_len;
    const char *path = host;
    while (path < end && *path != '/' && *path != '?')
        path++;
    if (path == end || *path != '/' || !host_is_local(host, (size_t)(path - host)))
        return false;
    r->target_len = (size_t)(end - path);
    memmove(r->target, path, r->target_len);
    return true;
}

/* A browser says for whom it asks; `none` is a person who typed the address. Not every request of a page has Origin. */
static bool made_for_page(const struct header_value *site)
{
    return site->times && strcasecmp(site->text, "none") != 0;
}

bool access_allow(struct connection *c)
{
    const struct header_value *host = &c->request.headers[HEADER_HOST];
    if (c->request.headers[HEADER_ORIGIN].times)
        return refuse(c, 403, net_err_code(NET_ERR_POLICY), "requests of web pages are refused (Origin)", "");
    if (made_for_page(&c->request.headers[HEADER_SEC_FETCH_SITE]))
        return refuse(c, 403, net_err_code(NET_ERR_POLICY), "requests of web pages are refused (Sec-Fetch-Site)", "");
    if (!host->len && !c->admin->is_unix)
        return refuse(c, 400, net_err_code(NET_ERR_FORMAT), "the header Host is missing", "");
    if ((host->len && !host_is_local(host->text, host->len)) || !take_authority(c))
        return refuse(c, 403, net_err_code(NET_ERR_POLICY), "Host must be an address or localhost", "");
    return true;
}

/* The token, padded with zeros; false: there is none of a token's form. */
static bool take_token(const struct header_value *v, char given[TOKEN_BYTES])
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof scheme - 1;
    memset(given, 0, TOKEN_BYTES);
    if (v->len <= skip || strncasecmp(v->text, scheme, skip) != 0)
        return false;
    while (v->text[skip] == ' ')
        skip++;
    if (v->len - skip >= TOKEN_BYTES)
        return false;
    memcpy(given, v->text + skip, v->len - skip);
    return true;
}

/* ACCESS_ADMIN, ACCESS_READ, or ACCESS_OPEN: nobody we know. */
static enum access access_of(const struct connection *c)
{
    const struct admin *a = c->admin;
    char given[TOKEN_BYTES];
    bool form = take_token(&c->request.headers[HEADER_AUTHORIZATION], given);
    bool all = secure_equal(given, a->token, sizeof given);
    bool reads = secure_equal(given, a->readonly, sizeof given);
    secure_wipe(given, sizeof given);
    if (form && all)
        return ACCESS_ADMIN;
    return form && reads && a->readonly[0] ? ACCESS_READ : ACCESS_OPEN;
}

bool access_has_token(const struct connection *c)
{
    return access_of(c) != ACCESS_OPEN;
}

bool access_check_token(struct connection *c, enum access need)
{
    if (need == ACCESS_OPEN)
        return true;
    enum access given = access_of(c);
    if (given == ACCESS_OPEN) {
        c->admin->stats.unauthorized++;
        return refuse(c, 401, "unauthorized", "the header \"Authorization: Bearer TOKEN\" is missing or wrong",
                      "WWW-Authenticate: Bearer\r\n");
    }
    connection_known(c);
    return given == ACCESS_ADMIN || need == ACCESS_READ || refuse(c, 403, "forbidden", "this token may only read", "");
}
