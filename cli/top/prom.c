/* Prometheus' text format, line by line. */
#include "cli/top/prom.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct prom_text *line)
{
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
}

static bool take_char(struct prom_text *line, char c)
{
    skip_blanks(line);
    if (line->at == line->end || *line->at != c)
        return false;
    line->at++;
    return true;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, colons in names of metrics only. */
static bool take_name(struct prom_text *line, bool colons, struct prom_piece *out)
{
    skip_blanks(line);
    const char *start = line->at;
    while (line->at < line->end &&
           (is_letter(*line->at) || (colons && *line->at == ':') || (line->at > start && is_digit(*line->at))))
        line->at++;
    *out = (struct prom_piece){start, (size_t)(line->at - start)};
    return out->len > 0;
}

static bool take_quoted(struct prom_text *line, struct prom_piece *out)
{
    if (!take_char(line, '"'))
        return false;
    const char *start = line->at;
    while (line->at < line->end && *line->at != '"')
        line->at += *line->at == '\\' && line->end - line->at > 1 ? 2 : 1;
    *out = (struct prom_piece){start, (size_t)(line->at - start)};
    return take_char(line, '"');
}

/* {name="value",...} with a comma after the last, if one likes. */
static bool take_labels(struct prom_text *line, struct prom_sample *s)
{
    if (!take_char(line, '{'))
        return true;
    while (!take_char(line, '}')) {
        struct prom_label label;
        if (s->label_count == PROM_LABELS_MAX || !take_name(line, false, &label.name) || !take_char(line, '=') ||
            !take_quoted(line, &label.value))
            return false;
        s->labels[s->label_count++] = label;
        skip_blanks(line);
        if (!take_char(line, ',') && (line->at == line->end || *line->at != '}'))
            return false;
    }
    return true;
}

static bool take_number(struct prom_text *line, double *out)
{
    char text[PROM_NUMBER_MAX + 1], *stop;
    skip_blanks(line);
    const char *start = line->at;
    while (line->at < line->end && *line->at != ' ' && *line->at != '\t')
        line->at++;
    size_t len = (size_t)(line->at - start);
    if (len == 0 || len > PROM_NUMBER_MAX)
        return false;
    memcpy(text, start, len);
    text[len] = '\0';
    *out = strtod(text, &stop);
    return stop == text + len; /* a NUL or a blank among them ends it too early */
}

static bool parse_line(struct prom_text line, struct prom_sample *s)
{
    double timestamp;
    s->label_count = 0;
    if (!take_name(&line, true, &s->name) || !take_labels(&line, s) || !take_number(&line, &s->value))
        return false;
    skip_blanks(&line);
    return line.at == line.end || (take_number(&line, &timestamp) && (skip_blanks(&line), line.at == line.end));
}

enum prom_result prom_next(struct prom_text *text, struct prom_sample *s)
{
    while (text->at < text->end) {
        const char *feed = memchr(text->at, '\n', (size_t)(text->end - text->at));
        struct prom_text line = {text->at, feed ? feed : text->end};
        text->at = feed ? feed + 1 : text->end;
        skip_blanks(&line);
        if (line.at < line.end && *line.at != '#')
            return parse_line(line, s) ? PROM_SAMPLE : PROM_MALFORMED;
    }
    return PROM_END;
}

bool prom_is(struct prom_piece piece, const char *text)
{
    return strlen(text) == piece.len && memcmp(text, piece.data, piece.len) == 0;
}

/* \\ \" \n; a backslash before anything else stands for itself. */
static bool unescape(struct prom_piece from, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < from.len; i++) {
        char c = from.data[i], next = i + 1 < from.len ? from.data[i + 1] : '\0';
        if (c == '\\' && (next == '\\' || next == '"' || next == 'n')) {
            c = next == 'n' ? '\n' : next;
            i++;
        }
        if (n + 1 >= room || c == '\0')
            return false;
        out[n++] = c;
    }
    if (n >= room)
        return false;
    out[n] = '\0';
    return true;
}

bool prom_label(const struct prom_sample *s, const char *name, char *out, size_t room)
{
    for (size_t i = 0; i < s->label_count; i++)
        if (prom_is(s->labels[i].name, name))
            return unescape(s->labels[i].value, out, room);
    return false;
}
