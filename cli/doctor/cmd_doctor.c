/* doctor: facts, judgement, and how both are shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor/doctor.h"
#include "cli/output.h"
#include "shards/process/machine.h"

static struct json_object *to_json(const struct doctor_report *r)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < r->count; i++) {
        const struct doctor_check *c = &r->checks[i];
        struct json_object *o = json_object_new_object();
        json_object_object_add(o, "check", json_object_new_string(c->name));
        json_object_object_add(o, "status", json_object_new_string(doctor_status_text(c->status)));
        json_object_object_add(o, "found", json_object_new_string(c->found));
        json_object_object_add(o, "wrong", *c->wrong ? json_object_new_string(c->wrong) : NULL);
        json_object_object_add(o, "remedy", *c->remedy ? json_object_new_string(c->remedy) : NULL);
        json_object_array_add(list, o);
    }
    return list;
}

static void put_line(const char *before, const char *text)
{
    fputs(before, stdout);
    cli_plain(stdout, text, strlen(text));
    putchar('\n');
}

/* For people: a line a check, and under one that is not ok what is wrong and what to do. */
static int print_lines(const struct doctor_report *r)
{
    static const enum cli_style styles[] = {
        [DOCTOR_OK] = STYLE_GOOD, [DOCTOR_WARN] = STYLE_WARNING, [DOCTOR_FAIL] = STYLE_BAD};
    bool colored = cli_colored(STDOUT_FILENO);
    unsigned counts[3] = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct doctor_check *c = &r->checks[i];
        counts[c->status]++;
        printf("%s%-5s%s %-14s ", colored ? cli_style_code(styles[c->status]) : "", doctor_status_text(c->status),
               colored ? cli_style_code(STYLE_NONE) : "", c->name);
        put_line("", c->found);
        if (c->status != DOCTOR_OK) {
            put_line("      wrong:  ", c->wrong);
            put_line("      remedy: ", c->remedy);
        }
    }
    printf("\n%u ok, %u to mind, %u to mend\n", counts[DOCTOR_OK], counts[DOCTOR_WARN], counts[DOCTOR_FAIL]);
    return output_flush();
}

static int print_report(const struct cli_args *args, const struct doctor_report *r)
{
    if (output_one_shot(args) == OUTPUT_TABLE)
        return print_lines(r);
    struct json_object *list = to_json(r);
    int code = output_value(args, list);
    json_object_put(list);
    return code;
}

int command_doctor(const struct cli_args *args)
{
    struct config config;
    struct peers_file peers = {0};
    struct doctor_machine machine;
    struct doctor_dir dir = {0};
    struct doctor_report *report = calloc(1, sizeof *report);
    if (!report)
        return cli_error(CLI_FAILURE, "out of memory");
    config_defaults(&config);
    if (args->word_count)
        doctor_look_at_dir(&dir, args, args->words[0], &config, &peers);
    machine_resolve(&config);
    doctor_look_at_machine(&machine, &config);
    doctor_judge_machine(report, &machine, &config);
    if (args->word_count)
        doctor_judge_dir(report, &dir, &config);
    int code = print_report(args, report);
    if (code == CLI_OK && doctor_worst(report) == DOCTOR_FAIL)
        code = CLI_FAILURE;
    free(dir.paths);
    peers_file_free(&peers);
    free(report);
    return code;
}
