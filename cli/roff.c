#include "cli/roff.h"

#include <stdio.h>
#include <string.h>

static void put_some(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (i == 0 && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", stdout);
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\'')
            fputs("\\(aq", stdout);
        else if (text[i] == '~')
            fputs("\\(ti", stdout);
        else if (text[i] == '^')
            fputs("\\(ha", stdout);
        else if (text[i] == '`')
            fputs("\\(ga", stdout);
        else
            putchar(text[i]);
    }
}

void roff_put(const char *text)
{
    put_some(text, strlen(text));
}

/* A line of prose, broken between words as sources of pages are. */
static void put_prose(const char *text, size_t len)
{
    enum { COLUMNS = 72 };
    const char *end = text + len;
    for (size_t column = 0; text < end;) {
        const char *blank = memchr(text, ' ', (size_t)(end - text));
        size_t n = (size_t)((blank ? blank : end) - text);
        if (column)
            putchar(column + n > COLUMNS ? '\n' : ' ');
        column = column + n > COLUMNS ? n : column + n + 1;
        put_some(text, n);
        text += n + (blank != NULL);
    }
    putchar('\n');
}

void roff_text(const char *text)
{
    int literal = 0;
    while (*text) {
        size_t len = strcspn(text, "\n");
        if ((*text == ' ') != literal) {
            literal = !literal;
            puts(literal ? ".sp\n.EX" : ".EE\n.sp");
        }
        if (literal) {
            put_some(text, len);
            putchar('\n');
        } else
            put_prose(text, len);
        text += len + (text[len] == '\n');
    }
    if (literal)
        puts(".EE");
}

void roff_lines(const char *text)
{
    size_t indent = strspn(text, " ");
    puts(".EX");
    while (*text) {
        size_t len = strcspn(text, "\n"), skip = strspn(text, " ");
        skip = skip < indent ? skip : indent;
        put_some(text + skip, len - skip);
        putchar('\n');
        text += len + (text[len] == '\n');
    }
    puts(".EE");
}
