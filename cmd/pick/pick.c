/* pick: passes on those rows of a stream whose images are in a list. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "link/stream.h"
#include "program/link_options.h"

enum { MOST_BYTES = 1 << 28 };
static const char *in = "-", *out = "-", *list = "";

static const struct option_spec options[] = {
    {"index", OPTION_STRING, &list, "FILE",
     "the numbers of the images, separated by blanks or lines", 0, 0, 0, 0},
    {"in", OPTION_STRING, &in, "ENDPOINT", "where the frames come from", 0, 0, 0, 0},
    {"out", OPTION_STRING, &out, "ENDPOINT", "where they go", 0, 0, 0, 0},
    {0},
};

static const char details[] =
    "Reads a stream of frames with index I64 [B], and passes on the rows whose index is in the\n"
    "list, in the order of the stream: of each tensor whose first dimension is B. Other tensors\n"
    "and the metadata pass through, and frames without such a row are left out.\n"
    "\n"
    "  echo 3 17 >wanted\n"
    "  augment --data shapes --batch 100 --steps 1 | pick --index wanted | inspect --png 2.png";

/* ---- the list ---- */

struct indices {
    int64_t *list; /* ascending */
    int64_t n, capacity;
};

static int by_value(const void *a, const void *b)
{
    const int64_t m = *(const int64_t *)a, n = *(const int64_t *)b;
    return (m > n) - (m < n);
}

static int read_list(struct indices *x)
{
    char *text, *rest, *word;
    if (regular_file_text(list, MOST_BYTES, &text))
        return -1;
    rest = text;
    int bad = 0;
    while (!bad && (word = strsep(&rest, " \t\n"))) {
        char *end;
        if (!*word)
            continue;
        errno = 0;
        const long long number = strtoll(word, &end, 10);
        int64_t *grown = grow(x->list, x->n, &x->capacity, sizeof *x->list);
        if (errno || *end)
            bad = fail("%s: '%.32s' is no number of an image", list, word);
        else if (!grown)
            bad = fail_memory(list);
        if (grown)
            x->list = grown;
        if (!bad)
            x->list[x->n++] = number;
    }
    free(text);
    if (bad) {
        free(x->list);
        *x = (struct indices){0};
    }
    if (x->n)
        qsort(x->list, (size_t)x->n, sizeof *x->list, by_value);
    return bad;
}

/* ---- frames ---- */

/* Sets row[] to the numbers of the rows of `index` that are in the list; returns how many. */
static int64_t choose(const struct indices *x, const struct tensor *index, int64_t *row)
{
    int64_t n = 0;
    for (int64_t i = 0; i < index->shape[0]; i++)
        if (x->n && bsearch((const int64_t *)index->data + i, x->list, (size_t)x->n,
                            sizeof *x->list, by_value))
            row[n++] = i;
    return n;
}

/* Makes a frame of the chosen rows. */
static struct frame *take_rows(const struct frame *f, int64_t rows, const int64_t *row, int64_t n)
{
    struct tensor_spec *specs = calloc((size_t)f->n_tensors, sizeof *specs);
    if (!specs)
        return fail_null("out of memory for %d tensors", f->n_tensors);
    for (int i = 0; i < f->n_tensors; i++) {
        specs[i] = tensor_spec_of(&f->tensors[i]);
        if (specs[i].ndim && specs[i].shape[0] == rows)
            specs[i].shape[0] = n;
    }
    struct frame *to = frame_new_unset(specs, f->n_tensors);
    free(specs);
    for (int i = 0; to && i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        struct tensor *copy = frame_find(to, t->name);
        const size_t each = t->bytes / (size_t)rows;
        if (!t->ndim || t->shape[0] != rows) {
            if (t->bytes)
                memcpy(copy->data, t->data, t->bytes);
            continue;
        }
        for (int64_t j = 0; j < n && each; j++)
            memcpy((char *)copy->data + (size_t)j * each,
                   (const char *)t->data + (size_t)row[j] * each, each);
    }
    if (to)
        frame_inherit_metas(to, f);
    return to;
}

/* Sets *picked to a frame of the chosen rows, or to NULL if there are none. */
static int pick(const struct frame *f, const struct indices *x, struct frame **picked)
{
    *picked = NULL;
    const struct tensor *index = frame_need(f, "index", DTYPE_I64, 1, (int64_t[]){-1});
    if (!index)
        return -1;
    const int64_t rows = index->shape[0];
    int64_t *row = calloc((size_t)rows + 1, sizeof *row);
    if (!row)
        return fail("out of memory for %lld rows", (long long)rows);
    const int64_t n = choose(x, index, row);
    if (n)
        *picked = take_rows(f, rows, row, n);
    free(row);
    return n && !*picked ? -1 : 0;
}

/* Passes the stream on. The names of the classes, which only the first frame may carry, come with
 * the first that is passed on. */
static int follow(struct source *source, struct sink *sink, const struct indices *x)
{
    struct frame *f, *picked, *first = NULL;
    enum source_result got;
    bool sent = false;
    int bad = 0;
    while (!bad && (got = source_next(source, &f)) == SOURCE_FRAME) {
        first = first ? first : frame_copy_metas(f);
        bad = !first || pick(f, x, &picked);
        if (bad)
            fail_prefix("%s", source_name(source));
        const char *names = first ? frame_meta(first, "class_names") : NULL;
        if (!bad && picked && !sent && names)
            frame_set_meta(picked, "class_names", names);
        if (!bad && picked) {
            bad = sink_write(sink, picked);
            sent = true;
        }
        frame_free(f);
    }
    frame_free(first);
    return bad || got != SOURCE_END ? -1 : 0;
}

int main(int argc, char **argv)
{
    const struct program program = {
        .name = "pick",
        .summary = "pass on the rows of some images",
        .details = details,
        .options = {options, link_option_specs},
    };
    signals_setup();
    options_parse(&program, argc, argv, NULL);
    if (!*list)
        options_reject("--index FILE is missing");
    struct indices x = {0};
    if (read_list(&x))
        return warn_failure();
    struct source *source = source_open(in, &link_options);
    struct sink *sink = source ? sink_open(out, &link_options) : NULL;
    int result = sink ? follow(source, sink, &x) : -1;
    if (sink && result)
        sink_abandon(sink);
    else if (sink)
        result = sink_end(sink);
    source_close(source);
    free(x.list);
    return result ? warn_failure() : 0;
}
