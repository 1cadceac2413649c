/* page: puts tables, frames, pictures and texts into a page of HTML. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "link/stream.h"
#include "program/link_options.h"
#include "report/json_values.h"
#include "report/page.h"
#include "report/sprite.h"
#include "report/table_json.h"

static const char *template = "", *out = "";
static int64_t rows = 1000, lines = 200, pixels = 64;

static const struct option_spec options[] = {
    {"template", OPTION_STRING, &template, "FILE", "the page, with @DATA@ and @NONCE@ in it", 0, 0,
     0, 0},
    {"out", OPTION_STRING, &out, "FILE", "the page that is written", 0, 0, 0, 0},
    {"rows", OPTION_INT, &rows, "N", "tables with more rows become means of groups of rows", 1, 1e6,
     0, 0},
    {"lines", OPTION_INT, &lines, "N", "last lines of a text", 1, 1e5, 0, 0},
    {"pixels", OPTION_INT, &pixels, "N", "larger pictures are shrunk to this size", 1, 4096, 0, 0},
    {0},
};

static const char details[] =
    "Each WORD is KEY:KIND=VALUE or KEY:KIND:N=VALUE, and becomes a member of the JSON object\n"
    "that replaces @DATA@. A KEY such as scores.linear is a member of a member. N sets --rows,\n"
    "--lines or --pixels for this value. The kinds:\n"
    "\n"
    "  text      VALUE itself\n"
    "  lines     a file's last lines\n"
    "  pairs     a file of names and values that each end in a zero byte\n"
    "  table     a file of tab-separated values, whose first line names the columns\n"
    "  json      a file of JSON\n"
    "  frame     the first frame of a stream: metadata and tensors\n"
    "  pictures  all images x of a stream, as one picture\n"
    "\n"
    "  page --template FILE.html --out page.html log:table=run/metrics.tsv title:text=mine";

/* ---- values ---- */

static json_t *text_value(const char *value, int64_t n)
{
    (void)n;
    return json_values_text(value, strlen(value));
}

static json_t *lines_value(const char *value, int64_t n)
{
    return json_values_lines(value, n ? n : lines);
}

static json_t *pairs_value(const char *value, int64_t n)
{
    (void)n;
    return json_values_pairs(value);
}

static json_t *table_value(const char *value, int64_t n)
{
    return table_json_read(value, n ? n : rows);
}

static json_t *json_value(const char *value, int64_t n)
{
    (void)n;
    return json_values_json(value);
}

static json_t *frame_value(const char *value, int64_t n)
{
    (void)n;
    struct frame *f;
    struct source *source = source_open_file(value, &link_options);
    if (!source)
        return NULL;
    json_t *result = NULL;
    const enum source_result got = source_next(source, &f);
    if (got == SOURCE_END)
        fail("%s: holds no frame", value);
    if (got == SOURCE_FRAME) {
        result = json_values_frame(f);
        if (!result)
            fail_prefix("%s", value);
        frame_free(f);
    }
    source_close(source);
    return result;
}

static json_t *pictures_value(const char *value, int64_t n)
{
    struct sprite sprite = {.most = n ? n : pixels};
    struct source *source = source_open_file(value, &link_options);
    if (!source)
        return NULL;
    struct frame *f;
    enum source_result got;
    int bad = 0;
    while (!bad && (got = source_next(source, &f)) == SOURCE_FRAME) {
        bad = sprite_add(&sprite, f);
        frame_free(f);
    }
    source_close(source);
    json_t *result = bad || got != SOURCE_END ? NULL : sprite_json(&sprite);
    if (!result && (bad || got == SOURCE_END))
        fail_prefix("%s", value);
    sprite_free(&sprite);
    return result;
}

static const struct kind {
    const char *name;
    json_t *(*value)(const char *value, int64_t n);
} kinds[] = {
    {"text", text_value},         {"lines", lines_value}, {"pairs", pairs_value},
    {"table", table_value},       {"json", json_value},   {"frame", frame_value},
    {"pictures", pictures_value},
};

/* ---- words ---- */

/* A word of the command line, cut into its parts. */
struct word {
    char *key;
    const struct kind *kind;
    int64_t n; /* 0 if it was not given */
    const char *value;
};

static struct word parse_word(char *text)
{
    struct word w = {.key = text};
    char *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
    if (!equals || colon == text)
        options_reject("'%.64s' is not KEY:KIND=VALUE", text);
    *colon = *equals = 0;
    w.value = equals + 1;
    char *number = strchr(colon + 1, ':');
    if (number) {
        *number++ = 0;
        if (!*number || strspn(number, "0123456789") != strlen(number) || strlen(number) > 6 ||
            !(w.n = atoll(number)))
            options_reject("%.64s: '%.16s' is not a number from 1 to 999999", text, number);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !w.kind; i++)
        if (!strcmp(kinds[i].name, colon + 1))
            w.kind = &kinds[i];
    if (!w.kind)
        options_reject("%.64s: no kind of value is called '%.32s'", text, colon + 1);
    return w;
}

/* Adds a word's value to the page's data. */
static int add(json_t *data, const struct word *w)
{
    json_t *value = w->kind->value(w->value, w->n), *at = data;
    char *dot = strchr(w->key, '.');
    if (!value)
        return -1;
    if (dot) {
        *dot = 0;
        at = json_object_get(data, w->key);
        if (!at && !json_object_set_new(data, w->key, json_object()))
            at = json_object_get(data, w->key);
    }
    return json_object_set_new(at, dot ? dot + 1 : w->key, value)
               ? fail("%s: no room for it in the page", w->key)
               : 0;
}

int main(int argc, char **argv)
{
    const struct program program = {
        .name = "page",
        .summary = "put tables, frames, pictures and texts into a page of HTML",
        .details = details,
        .options = {options},
    };
    int operand;
    signals_setup();
    options_parse(&program, argc, argv, &operand);
    if (!*template || !*out)
        options_reject("--template FILE and --out FILE are needed");
    struct word *words = calloc((size_t)(argc - operand) + 1, sizeof *words);
    json_t *data = json_object();
    if (!words || !data)
        options_reject("out of memory");
    for (int i = operand; i < argc; i++)
        words[i - operand] = parse_word(argv[i]);

    int result = 0;
    for (int i = operand; i < argc && !result; i++)
        result = add(data, &words[i - operand]);
    if (!result)
        result = page_write(template, data, out);
    json_decref(data);
    free(words);
    return result ? warn_failure() : 0;
}
