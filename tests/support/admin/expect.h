/* What the tests of the admin port say about an answer, with Criterion: a header, as the fuzzer shares the rest. */
#ifndef NM_TESTS_SUPPORT_ADMIN_EXPECT_H
#define NM_TESTS_SUPPORT_ADMIN_EXPECT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/admin/world.h"

/* The whole error object of API.md, with this status and code. */
static inline void expect_response_error(const struct response *r, int status, const char *code)
{
    char expected[64];
    snprintf(expected, sizeof expected, "{\"error\":{\"code\":\"%s\",\"message\":\"", code);
    cr_assert_eq(r->status, status, "%d instead of %d %s: %s", r->status, status, code, r->body);
    cr_assert_eq(strncmp(r->body, expected, strlen(expected)), 0, "%s: %s", code, r->body);
    cr_assert(r->complete);
}

/* The same of what a client heard, which must begin with that response. */
static inline void expect_error(const char *heard, int status, const char *code)
{
    struct response r;
    response_parse(heard, strlen(heard), &r);
    expect_response_error(&r, status, code);
    response_free(&r);
}

static inline void expect_status(const char *heard, int status)
{
    struct response r;
    response_parse(heard, strlen(heard), &r);
    cr_assert_eq(r.status, status, "%d: %s", status, heard);
    response_free(&r);
}

#endif
