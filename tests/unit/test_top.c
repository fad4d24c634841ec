/* What `top` makes of a node's answers, without a node and without a terminal. */
#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top/text.h"
#include "cli/top/view.h"
#include "tests/support/splitmix.h"

#define SECOND UINT64_C(1000000000)

static void set_up(void)
{
    cr_assert(setlocale(LC_CTYPE, "C.UTF-8"));
}

TestSuite(top, .init = set_up);

static const char node[] = "{\"node_id\":\"0x00000000000000aa\",\"version\":\"9.8.7\",\"pid\":7,\"shards\":2,"
                           "\"uptime_ms\":61000,\"stopping\":false}";

static void read_metrics(struct top_look *look, const char *text)
{
    cr_assert(top_read_metrics(look, text, strlen(text)));
}

static unsigned column_of(enum top_pane pane, const char *key)
{
    unsigned c = 0;
    while (c < top_panes[pane].count && strcmp(top_panes[pane].columns[c].key, key) != 0)
        c++;
    cr_assert(c < top_panes[pane].count, "no column %s", key);
    return c;
}

static double shown(struct top_look *look, enum top_pane pane, const char *id, const char *key)
{
    const struct top_row *row = top_table_find(&look->tables[pane], id);
    cr_assert(row, "%s", id);
    return row->cells[column_of(pane, key)].shown;
}

static void two_looks(struct top_look *before, struct top_look *now, const char *first, const char *second,
                      double seconds)
{
    top_look_init(before, SECOND);
    top_look_init(now, SECOND + (uint64_t)(seconds * 1e9));
    read_metrics(before, first);
    read_metrics(now, second);
    top_look_compare(before, NULL);
    top_look_compare(now, before);
}

static void end_looks(struct top_look *before, struct top_look *now)
{
    top_look_deinit(before);
    top_look_deinit(now);
}

Test(top, rates_are_differences_over_time)
{
    struct top_look before, now;
    two_looks(&before, &now,
              "netmesh_turns_total{shard=\"0\"} 100\nnetmesh_turns_total{shard=\"1\"} 5\n"
              "netmesh_logs{shard=\"0\"} 3\n",
              "netmesh_turns_total{shard=\"1\"} 5\nnetmesh_turns_total{shard=\"0\"} 300\n"
              "netmesh_logs{shard=\"0\"} 2\n",
              2);
    cr_expect(isnan(shown(&before, TOP_SHARDS, "0", "turns_per_s")), "one look has no rates");
    cr_expect_eq(shown(&before, TOP_SHARDS, "0", "logs"), 3);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "turns_per_s"), 100);
    cr_expect_eq(shown(&now, TOP_SHARDS, "1", "turns_per_s"), 0);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "logs"), 2, "a gauge is shown as it is");
    cr_expect(isnan(shown(&now, TOP_SHARDS, "0", "rx_datagrams_per_s")), "never told");
    end_looks(&before, &now);
}

Test(top, a_counter_that_fell_began_anew)
{
    struct top_look before, now;
    two_looks(&before, &now, "netmesh_turns_total{shard=\"0\"} 1000\n", "netmesh_turns_total{shard=\"0\"} 40\n", 4);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "turns_per_s"), 10);
    end_looks(&before, &now);
}

Test(top, a_restarted_node_has_no_rates_at_first)
{
    struct top_look before, now;
    static const char later[] = "{\"node_id\":\"0x00000000000000aa\",\"pid\":8,\"uptime_ms\":62000}";
    two_looks(&before, &now, "netmesh_turns_total{shard=\"0\"} 1000\n", "netmesh_turns_total{shard=\"0\"} 2000\n", 1);
    cr_assert(top_read_node(&before, node) && top_read_node(&now, node));
    top_look_compare(&now, &before);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "turns_per_s"), 1000);
    cr_assert(top_read_node(&now, later));
    top_look_compare(&now, &before);
    cr_expect(isnan(shown(&now, TOP_SHARDS, "0", "turns_per_s")), "another process");
    now.node = before.node;
    now.node.uptime_ms = 10;
    top_look_compare(&now, &before);
    cr_expect(isnan(shown(&now, TOP_SHARDS, "0", "turns_per_s")), "up for a shorter time than before");
    end_looks(&before, &now);
}

Test(top, drops_are_summed_over_shards_and_only_shown_when_there_are_any)
{
    struct top_look before, now;
    struct top_state s;
    two_looks(
        &before, &now,
        "netmesh_drops_total{shard=\"0\",reason=\"replay\"} 0\nnetmesh_drops_total{shard=\"0\",reason=\"ttl\"} 5\n"
        "netmesh_drops_total{shard=\"0\",reason=\"lost\"} 0\n",
        "netmesh_drops_total{shard=\"0\",reason=\"replay\"} 1\nnetmesh_drops_total{shard=\"1\",reason=\"replay\"} 3\n"
        "netmesh_drops_total{shard=\"0\",reason=\"ttl\"} 6\nnetmesh_drops_total{shard=\"0\",reason=\"lost\"} 0\n",
        1);
    top_state_init(&s, "here", SECOND);
    size_t worth = top_table_sort(&now.tables[TOP_DROPS], s.panes[TOP_DROPS].sort, s.panes[TOP_DROPS].descending);
    cr_assert_eq(worth, 2);
    cr_expect_str_eq(now.tables[TOP_DROPS].rows[0].id, "replay", "the highest rate is first");
    cr_expect_eq(shown(&now, TOP_DROPS, "replay", "drops_per_s"), 4);
    cr_expect_eq(shown(&now, TOP_DROPS, "replay", "total"), 4);
    cr_expect_eq(shown(&now, TOP_DROPS, "ttl", "drops_per_s"), 1);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "drops_per_s"), 2);
    end_looks(&before, &now);
}

Test(top, metrics_that_mean_nothing_here)
{
    struct top_look look;
    top_look_init(&look, 1);
    read_metrics(&look,
                 "netmesh_turns_total 1\nnetmesh_turns_total{shard=\"x\"} 1\nnetmesh_turns_total{shard=\"\"} 1\n"
                 "netmesh_turns_total{shard=\"1234\"} 1\nnetmesh_turns_total{shard=\"0\"} NaN\n"
                 "netmesh_turns_total{shard=\"0\"} +Inf\nnetmesh_drops_total{shard=\"0\"} 1\nother 1\nbroken{\n");
    cr_expect_eq(look.tables[TOP_SHARDS].count, 1, "only the last of the drops names a shard");
    cr_expect(isnan(look.tables[TOP_SHARDS].rows[0].cells[1].number));
    cr_expect_eq(look.tables[TOP_DROPS].count, 0);
    top_look_deinit(&look);
}

static const char peers[] =
    "[{\"name\":\"bob\",\"node_id\":\"0x0b\",\"addr\":\"127.0.0.1:1\",\"state\":\"connected\",\"rtt_us\":478},"
    "{\"name\":null,\"node_id\":\"0x0c\",\"addr\":null,\"state\":\"down\",\"rtt_us\":null}]";

static const char channels[] =
    "[{\"channel\":\"a\",\"origin\":\"self\",\"origin_name\":null,\"log\":\"disk\",\"next_seq\":10,\"bytes\":4096,"
    "\"subscribers\":1,\"error\":null},"
    "{\"channel\":\"a\",\"origin\":\"0x0b\",\"origin_name\":\"bob\",\"log\":\"disk\",\"next_seq\":12345678901,"
    "\"bytes\":100,\"subscribers\":0,\"error\":\"no space\"}]";

Test(top, lists_become_rows)
{
    struct top_look look;
    top_look_init(&look, 1);
    cr_assert(top_read_peers(&look, peers) && top_read_channels(&look, channels));
    cr_assert_eq(look.tables[TOP_PEERS].count, 2);
    cr_expect_str_eq(look.tables[TOP_PEERS].rows[0].cells[0].text, "bob");
    cr_expect_str_eq(look.tables[TOP_PEERS].rows[1].cells[0].text, "0x0c", "without a name the id stands for it");
    cr_assert_eq(look.tables[TOP_CHANNELS].count, 2, "two logs of one name");
    cr_expect_str_eq(look.tables[TOP_CHANNELS].rows[0].cells[1].text, "self");
    cr_expect_str_eq(look.tables[TOP_CHANNELS].rows[1].cells[1].text, "bob");
    top_look_deinit(&look);
}

Test(top, what_other_routes_add_to_the_rows)
{
    struct top_look before, now;
    top_look_init(&before, SECOND);
    top_look_init(&now, 2 * SECOND);
    cr_assert(top_read_peers(&before, peers) && top_read_peers(&now, peers));
    cr_assert(top_read_channels(&now, channels));
    cr_assert(top_read_shards(&now, "[{\"shard\":0,\"ring\":{\"bytes\":1000,\"used\":250}},{\"shard\":1}]"));
    cr_assert(top_read_sessions(&before, "[{\"peer\":\"0x0b\",\"rx_packets\":10,\"tx_bytes\":100}]"));
    cr_assert(top_read_sessions(&now, "[{\"peer\":\"0x0b\",\"rx_packets\":15,\"tx_bytes\":10},"
                                      "{\"peer\":\"0x0b\",\"rx_packets\":5},{\"peer\":\"0xff\",\"rx_packets\":5}]"));
    cr_assert(top_read_subscribers(&now, "[{\"peer\":\"0x0b\",\"channel\":\"a\",\"lag\":3},"
                                         "{\"peer\":\"0x0b\",\"channel\":\"b\",\"lag\":4},"
                                         "{\"peer\":\"0x0c\",\"channel\":\"a\",\"lag\":9}]"));
    read_metrics(&before, "netmesh_peer_rx_events_total{peer=\"bob\",node_id=\"0x0b\"} 1\n");
    read_metrics(&now, "netmesh_peer_rx_events_total{peer=\"bob\",node_id=\"0x0b\"} 8\n"
                       "netmesh_peer_rx_events_total{peer=\"_other\",node_id=\"\"} 8\n");
    top_look_compare(&now, &before);
    cr_expect_eq(now.tables[TOP_SHARDS].count, 2);
    cr_expect_eq(shown(&now, TOP_SHARDS, "0", "ring"), 0.25);
    cr_expect(isnan(shown(&now, TOP_SHARDS, "1", "ring")));
    cr_expect_eq(now.tables[TOP_PEERS].count, 2, "a session with a peer that is not listed adds no row");
    cr_expect_eq(shown(&now, TOP_PEERS, "0x0b", "rx_packets_per_s"), 10, "of both sessions");
    cr_expect(isnan(shown(&now, TOP_PEERS, "0x0b", "tx_bytes_per_s")), "a session went, and took its count along");
    cr_expect_eq(shown(&now, TOP_PEERS, "0x0b", "rx_events_per_s"), 7);
    cr_expect_eq(shown(&now, TOP_PEERS, "0x0b", "lag"), 7, "over its channels");
    cr_expect_eq(shown(&now, TOP_CHANNELS, "a\nself", "lag"), 9, "of the slowest");
    cr_expect(isnan(shown(&now, TOP_CHANNELS, "a\n0x0b", "lag")), "nobody reads that one from here");
    end_looks(&before, &now);
}

Test(top, appended_counts_are_better_than_sequences)
{
    struct top_look before, now;
    top_look_init(&before, SECOND);
    top_look_init(&now, 2 * SECOND);
    cr_assert(top_read_channels(&before, "[{\"channel\":\"a\",\"origin\":\"self\",\"next_seq\":10,\"bytes\":90,"
                                         "\"appended_events\":5,\"appended_bytes\":100}]"));
    cr_assert(top_read_channels(&now, "[{\"channel\":\"a\",\"origin\":\"self\",\"next_seq\":1000,\"bytes\":10,"
                                      "\"appended_events\":7,\"appended_bytes\":150}]"));
    top_look_compare(&now, &before);
    cr_expect_eq(shown(&now, TOP_CHANNELS, "a\nself", "events_per_s"), 2, "the sequences have a hole");
    cr_expect_eq(shown(&now, TOP_CHANNELS, "a\nself", "bytes_per_s"), 50);
    cr_expect_eq(shown(&now, TOP_CHANNELS, "a\nself", "bytes"), 10);
    end_looks(&before, &now);
}

Test(top, stored_bytes_may_fall)
{
    struct top_look before, now;
    static const char less[] = "[{\"channel\":\"a\",\"origin\":\"self\",\"next_seq\":20,\"bytes\":96}]";
    top_look_init(&before, SECOND);
    top_look_init(&now, 3 * SECOND);
    cr_assert(top_read_channels(&before, channels) && top_read_channels(&now, less));
    top_look_compare(&now, &before);
    cr_expect_eq(shown(&now, TOP_CHANNELS, "a\nself", "events_per_s"), 5);
    cr_expect(isnan(shown(&now, TOP_CHANNELS, "a\nself", "bytes_per_s")), "retention, not a restart");
    end_looks(&before, &now);
}

Test(top, answers_of_the_wrong_shape)
{
    static const char *const bad[] = {"", "{", "1", "null", "\"x\"", "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]"};
    struct top_look look;
    top_look_init(&look, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect(!top_read_node(&look, bad[i]), "%s", bad[i]);
        cr_expect(!top_read_ready(&look, bad[i]), "%s", bad[i]);
        cr_expect(!top_read_peers(&look, bad[i]), "%s", bad[i]);
        cr_expect(!top_read_channels(&look, bad[i]), "%s", bad[i]);
    }
    cr_expect(top_read_node(&look, "{\"node_id\":1,\"uptime_ms\":\"long\",\"version\":[]}"));
    cr_expect(isnan(look.node.uptime_ms));
    cr_expect_str_eq(look.node.node_id, "");
    cr_expect(
        top_read_peers(&look, "[1,null,{},{\"node_id\":7},{\"node_id\":\"0x1\",\"name\":{},\"rtt_us\":\"fast\"}]"));
    cr_assert_eq(look.tables[TOP_PEERS].count, 1);
    cr_expect(isnan(look.tables[TOP_PEERS].rows[0].cells[2].number));
    top_look_deinit(&look);
}

Test(top, readiness)
{
    struct top_look look;
    top_look_init(&look, 1);
    cr_assert(top_read_ready(&look, "{\"ready\":false,\"problems\":[\"1 log without "
                                    "space\",{\"code\":\"late\"},{\"code\":\"x\",\"text\":\"both\"},5]}"));
    cr_expect_eq(look.node.ready, TOP_NOT_READY);
    cr_assert_eq(look.node.problem_count, 3);
    cr_expect_str_eq(look.node.problems[2], "both");
    cr_expect_str_eq(look.node.problems[0], "1 log without space");
    cr_expect_str_eq(look.node.problems[1], "late");
    top_look_deinit(&look);
}

static struct top_look listed(const char *const *ids, const double *numbers, size_t count)
{
    struct top_look look;
    top_look_init(&look, 1);
    for (size_t i = 0; i < count; i++) {
        struct top_row *row = top_table_add(&look.tables[TOP_PEERS], ids[i]);
        cr_assert(row && top_cell_text(&row->cells[0], ids[i]));
        row->cells[2].number = numbers[i];
    }
    top_look_compare(&look, NULL);
    return look;
}

static void expect_order(struct top_look *look, unsigned column, bool descending, const char *expected)
{
    char order[16] = "";
    top_table_sort(&look->tables[TOP_PEERS], column, descending);
    for (size_t i = 0; i < look->tables[TOP_PEERS].count; i++)
        strcat(order, look->tables[TOP_PEERS].rows[i].id);
    cr_expect_str_eq(order, expected);
}

Test(top, sorting)
{
    struct top_look look =
        listed((const char *const[]){"c", "a", "d", "b", "e"}, (const double[]){2, NAN, 1, 2, 30}, 5);
    expect_order(&look, 2, true, "ebcda");
    expect_order(&look, 2, false, "dbcea");
    expect_order(&look, 0, false, "abcde");
    expect_order(&look, 0, true, "edcba");
    top_look_deinit(&look);
}

/* ---- text ---- */

static void expect_number(enum top_kind kind, double number, const char *expected)
{
    char out[32];
    top_number_text(kind, number, out);
    cr_expect_str_eq(out, expected);
}

Test(top, figures)
{
    expect_number(TOP_COUNT, 0, "0");
    expect_number(TOP_COUNT, 7, "7");
    expect_number(TOP_COUNT, 0.5, "0.50");
    expect_number(TOP_COUNT, 12.34, "12.3");
    expect_number(TOP_COUNT, 999, "999");
    expect_number(TOP_COUNT, 999.7, "1.00k");
    expect_number(TOP_COUNT, 12345, "12.3k");
    expect_number(TOP_COUNT, 999999, "1.00M");
    expect_number(TOP_COUNT, 4.8e7, "48.0M");
    expect_number(TOP_COUNT, NAN, "-");
    expect_number(TOP_COUNT, INFINITY, "-");
    expect_number(TOP_COUNT, 1e300, "1e+300");
    expect_number(TOP_EXACT, 19289655, "19289655");
    expect_number(TOP_BYTES, 1000, "1000B");
    expect_number(TOP_BYTES, 1024, "1.00KiB");
    expect_number(TOP_BYTES, 1023 * 1024, "1023KiB");
    expect_number(TOP_BYTES, 1024 * 1024, "1.00MiB");
    expect_number(TOP_SHARE, 0.456, "46%");
    expect_number(TOP_MICROSECONDS, 478, "478us");
    expect_number(TOP_MICROSECONDS, 1230, "1.23ms");
    expect_number(TOP_MICROSECONDS, 12e6, "12.0s");
}

Test(top, uptime)
{
    static const struct {
        double ms;
        const char *text;
    } cases[] = {{0, "0s"},           {59999, "59s"},        {60000, "1m 00s"},    {3599000, "59m 59s"},
                 {3600000, "1h 00m"}, {86399000, "23h 59m"}, {90000000, "1d 01h"}, {NAN, "-"},
                 {-1, "-"},           {1e300, "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        top_uptime_text(cases[i].ms, out);
        cr_expect_str_eq(out, cases[i].text);
    }
}

static void expect_fit(const char *text, unsigned columns, const char *expected, unsigned width)
{
    char out[TOP_TEXT_MAX];
    cr_expect_eq(top_text_fit(text, columns, out), width, "%s in %u", text, columns);
    cr_expect_str_eq(out, expected);
}

Test(top, texts_fit_and_are_harmless)
{
    expect_fit("abc", 3, "abc", 3);
    expect_fit("abcd", 3, "ab~", 3);
    expect_fit("abc", 1, "~", 1);
    expect_fit("abc", 0, "", 0);
    expect_fit("", 5, "", 0);
    expect_fit("\033[31mred\a\n\x7f", 20, "?[31mred???", 11);
    expect_fit("\xc2\x9b"
               "2J",
               20, "?2J", 3); /* C1: CSI in one character */
    expect_fit("a\xe2\x80\xae"
               "b",
               20, "a?b", 3);                           /* right-to-left override */
    expect_fit("\xff\xc3", 20, "??", 2);                /* no UTF-8 */
    expect_fit("\xc0\xaf\xed\xa0\x80", 20, "?????", 5); /* overlong, surrogate: RFC 3629 3 */
    expect_fit("\xc3\xa9t\xc3\xa9", 3, "\xc3\xa9t\xc3\xa9", 3);
    expect_fit("\xe6\xb8\xac\xe5\xae\x9a", 4, "\xe6\xb8\xac\xe5\xae\x9a", 4); /* two wide characters */
    expect_fit("\xe6\xb8\xac\xe5\xae\x9a", 3, "\xe6\xb8\xac~", 3);
    expect_fit("\xe6\xb8\xac\xe5\xae\x9a", 2, "~", 1);
    expect_fit("e\xcc\x81x", 2, "e\xcc\x81x", 2); /* a combining accent takes no column */
    cr_expect_eq(top_text_width("\xe6\xb8\xac\xe5\xae\x9a\n"), 5);
    cr_assert(setlocale(LC_CTYPE, "C"));
    expect_fit("\xc3\xa9t", 5, "?t", 2); /* a terminal that takes ASCII only */
}

/* ---- screen ---- */

enum { GRID_ROWS = 64, GRID_COLUMNS = 256 };

struct grid {
    struct top_canvas canvas;
    char used[GRID_ROWS][GRID_COLUMNS];
    char text[GRID_ROWS][GRID_COLUMNS * 4]; /* of each row, one piece behind the other */
};

static void put(void *ctx, unsigned row, unsigned column, enum top_style style, const char *text)
{
    struct grid *g = ctx;
    unsigned width = top_text_width(text);
    cr_assert(row < g->canvas.rows && column + width <= g->canvas.columns, "%u,%u: %s", row, column, text);
    cr_assert(style < TOP_STYLES);
    for (unsigned i = 0; i < width; i++)
        cr_assert(!g->used[row][column + i]++, "put twice: %u,%u", row, column + i);
    for (const char *p = text; *p; p++)
        cr_assert((unsigned char)*p >= 0x20 && *p != 0x7f);
    strcat(g->text[row], text);
}

static struct grid *draw(unsigned rows, unsigned columns, struct top_state *s, struct top_look *look)
{
    struct grid *g = calloc(1, sizeof *g);
    cr_assert(g);
    g->canvas = (struct top_canvas){rows, columns, put, g};
    top_draw(&g->canvas, s, look);
    return g;
}

static struct top_look example(void)
{
    struct top_look look;
    top_look_init(&look, SECOND);
    cr_assert(top_read_node(&look, node) && top_read_peers(&look, peers) && top_read_channels(&look, channels));
    read_metrics(&look, "netmesh_turns_total{shard=\"0\"} 1\nnetmesh_turns_total{shard=\"1\"} 1\n"
                        "netmesh_drops_total{shard=\"0\",reason=\"replay\"} 9\n");
    top_look_compare(&look, NULL);
    return look;
}

static int find_row(const struct grid *g, const char *part)
{
    for (unsigned r = 0; r < g->canvas.rows; r++)
        if (strstr(g->text[r], part))
            return (int)r;
    return -1;
}

Test(top, screen_of_80_by_24)
{
    struct top_look look = example();
    struct top_state s;
    top_state_init(&s, "127.0.0.1:20038", SECOND);
    s.interactive = true;
    struct grid *g = draw(24, 80, &s, &look);
    cr_expect(strstr(g->text[0], "net-mesh 127.0.0.1:20038") && strstr(g->text[0], "up 1m 01s"), "%s", g->text[0]);
    int shards_at = find_row(g, "SHARD "), peers_at = find_row(g, "PEER "), channels_at = find_row(g, "CHANNEL "),
        drops_at = find_row(g, "DROPPED ");
    cr_expect(0 < shards_at && shards_at < peers_at && peers_at < channels_at && channels_at < drops_at);
    cr_expect_gt(find_row(g, "connected"), peers_at);
    cr_expect_gt(find_row(g, "12345678901"), channels_at);
    cr_expect_gt(find_row(g, "replay"), drops_at);
    cr_expect(strstr(g->text[23], "q quit"));
    cr_expect_eq(find_row(g, "RING"), -1, "nobody knows how full the rings are, so there is no column");
    free(g);
    top_look_deinit(&look);
}

Test(top, trouble_and_problems_are_shown)
{
    struct top_look look = example();
    struct top_state s;
    top_state_init(&s, "here", SECOND);
    s.trouble = "here: cannot reach the node";
    cr_assert(top_read_ready(&look, "{\"ready\":false,\"problems\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}"));
    struct grid *g = draw(24, 80, &s, &look);
    cr_expect(strstr(g->text[0], "unreachable"));
    cr_expect(strstr(g->text[1], "trying again: here: cannot reach the node"));
    cr_expect_str_eq(g->text[4], "c (and 2 more)");
    free(g);
    s.trouble = NULL;
    g = draw(24, 80, &s, &look);
    cr_expect(strstr(g->text[0], "not ready"));
    free(g);
    top_look_deinit(&look);
}

/* Every size, every pane, any place scrolled to: the canvas asserts that nothing is put outside or twice. */
Test(top, any_size_of_terminal)
{
    struct top_look look = example();
    uint64_t random = 20251125;
    for (int i = 0; i < 40; i++) {
        char id[32];
        snprintf(id, sizeof id, "\xe6\xb8\xac\033 %d", i);
        struct top_row *row = top_table_add(&look.tables[i % TOP_PANES], id);
        cr_assert(row && top_cell_text(&row->cells[0], id) && top_cell_text(&row->cells[1], id));
        row->cells[2].number = i;
    }
    top_look_compare(&look, NULL);
    for (unsigned rows = 0; rows < 40; rows++)
        for (unsigned columns = 0; columns < 130; columns++) {
            struct top_state s;
            top_state_init(&s, "127.0.0.1:20038", SECOND);
            s.interactive = splitmix(&random) % 8 != 0;
            s.help = splitmix(&random) % 8 == 0;
            s.chosen = splitmix(&random) % TOP_PANES;
            s.panes[s.chosen].scroll = splitmix(&random) % 50;
            s.trouble = splitmix(&random) % 4 ? NULL : "trouble";
            free(draw(rows, columns, &s, &look));
            cr_assert(s.help || rows < 4 ||
                      s.panes[s.chosen].scroll + s.panes[s.chosen].visible <= look.worth[s.chosen]);
        }
    top_look_deinit(&look);
}

/* ---- keys ---- */

static void press(struct top_state *s, const struct top_look *look, const char *keys)
{
    for (; *keys; keys++)
        top_state_key(s, look, *keys);
}

Test(top, keys_choose_and_sort)
{
    struct top_look look = example();
    struct top_state s;
    top_state_init(&s, "here", SECOND);
    cr_expect_eq(s.chosen, TOP_CHANNELS);
    press(&s, &look, "\t");
    cr_expect_eq(s.chosen, TOP_DROPS);
    top_state_key(&s, &look, TOP_KEY_RIGHT);
    cr_expect_eq(s.chosen, TOP_SHARDS);
    press(&s, &look, "s");
    cr_expect_eq(s.panes[TOP_SHARDS].sort, 1);
    cr_expect(s.panes[TOP_SHARDS].descending, "most comes first");
    press(&s, &look, "s");
    cr_expect_eq(s.panes[TOP_SHARDS].sort, column_of(TOP_SHARDS, "drops_per_s"),
                 "columns that are not shown are passed over");
    press(&s, &look, "ss");
    cr_expect_eq(s.panes[TOP_SHARDS].sort, 1, "round again, by the number");
    press(&s, &look, "r");
    cr_expect(!s.panes[TOP_SHARDS].descending);
    top_state_key(&s, &look, TOP_KEY_LEFT);
    top_state_key(&s, &look, TOP_KEY_BACK_TAB);
    cr_expect_eq(s.chosen, TOP_CHANNELS);
    press(&s, &look, "ph?");
    cr_expect(s.paused && !s.help && !s.quit);
    press(&s, &look, "xyz 0");
    cr_expect(!s.quit);
    press(&s, &look, "q");
    cr_expect(s.quit);
    top_look_deinit(&look);
}

Test(top, keys_change_the_interval)
{
    struct top_look look = example();
    struct top_state s;
    top_state_init(&s, "here", SECOND);
    press(&s, &look, "+");
    cr_expect_eq(s.interval_ns, 2 * SECOND);
    press(&s, &look, "---------");
    cr_expect_eq(s.interval_ns, TOP_INTERVAL_MIN);
    press(&s, &look, "++++++++++++++++++++");
    cr_expect_eq(s.interval_ns, TOP_INTERVAL_MAX);
    s.interval_ns = 3 * SECOND;
    press(&s, &look, "-");
    cr_expect_eq(s.interval_ns, 2 * SECOND, "to the next round figure");
    top_look_deinit(&look);
}

Test(top, keys_scroll)
{
    struct top_look look;
    struct top_state s;
    top_look_init(&look, SECOND);
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%02d", i);
        struct top_row *row = top_table_add(&look.tables[TOP_CHANNELS], id);
        cr_assert(row && top_cell_text(&row->cells[0], id));
    }
    top_look_compare(&look, NULL);
    top_state_init(&s, "here", SECOND);
    cr_assert(top_state_sort(&s, "channel"));
    s.interactive = true;
    static const struct {
        int key;
        const char *first;
    } steps[] = {{TOP_KEY_DOWN, "c01"},    {TOP_KEY_UP, "c00"},  {TOP_KEY_UP, "c00"},   {TOP_KEY_PAGE_DOWN, "c04"},
                 {TOP_KEY_PAGE_UP, "c00"}, {TOP_KEY_END, "c96"}, {TOP_KEY_DOWN, "c96"}, {TOP_KEY_HOME, "c00"}};
    free(draw(7, 80, &s, &look)); /* a line for the node, one for the keys, and one pane: its bar and 4 rows */
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        top_state_key(&s, &look, steps[i].key);
        struct grid *g = draw(7, 80, &s, &look);
        cr_expect(strstr(g->text[2], steps[i].first) == g->text[2], "step %zu: %s", i, g->text[2]);
        free(g);
    }
    top_look_deinit(&look);
}

Test(top, sort_by_name)
{
    struct top_state s;
    top_state_init(&s, "here", SECOND);
    cr_expect(top_state_sort(&s, "peers.rtt_us"));
    cr_expect_eq(s.panes[TOP_PEERS].sort, 2);
    cr_expect(top_state_sort(&s, "drops_per_s"), "of two panes");
    cr_expect_eq(s.panes[TOP_SHARDS].sort, column_of(TOP_SHARDS, "drops_per_s"));
    cr_expect(!top_state_sort(&s, "nothing"));
    cr_expect(!top_state_sort(&s, "peers.turns_per_s"));
    cr_expect(!top_state_sort(&s, "peer.rtt_us"));
    cr_expect(!top_state_sort(&s, ""));
}

Test(top, data)
{
    struct top_look look = example();
    for (unsigned p = 0; p < TOP_PANES; p++)
        look.worth[p] = top_table_sort(&look.tables[p], top_panes[p].sort, false);
    struct json_object *all = top_look_json(&look);
    struct json_object *list = json_object_object_get(all, "peers"), *row = json_object_array_get_idx(list, 1);
    cr_assert_eq(json_object_array_length(list), 2);
    cr_expect_str_eq(json_object_get_string(json_object_object_get(row, "peer")), "bob");
    cr_expect_eq(json_object_get_int(json_object_object_get(row, "rtt_us")), 478);
    cr_expect(json_object_object_get_ex(json_object_array_get_idx(list, 0), "addr", &row) && row == NULL);
    cr_expect_eq(json_object_array_length(json_object_object_get(all, "shards")), 2);
    row = json_object_object_get(all, "node");
    cr_expect_str_eq(json_object_get_string(json_object_object_get(row, "version")), "9.8.7");
    json_object_put(all);
    top_look_deinit(&look);
}
