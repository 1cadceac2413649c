/* inspect: prints the contents of a stream of frames for people to read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "link/link.h"
#include "link/stream.h"
#include "program/link_options.h"
#include "python/npy_write.h"
#include "report/contact_sheet.h"
#include "report/metrics.h"
#include "report/rows.h"
#include "report/statistics.h"

static const char *in = "-", *png = "", *meta = "", *rows = "", *npy = "", *tensor = "h";
static int64_t images = 32, limit = 0;
static bool tsv;

static const struct option_spec options[] = {
    {"in", OPTION_STRING, &in, "ENDPOINT", "the stream; a FILE may be named without it", 0, 0, 0,
     0},
    {"png", OPTION_STRING, &png, "FILE", "draw the first frame's x as a contact sheet", 0, 0, 0, 0},
    {"images", OPTION_INT, &images, "N", "at most N images on the sheet", 1, 1e6, 0, 0},
    {"limit", OPTION_INT, &limit, "N", "stop after N frames; 0: at the end", 0, 1e18, 0, 0},
    {"meta", OPTION_STRING, &meta, "KEY", "print only that metadata's value, a line a frame", 0, 0,
     0, 0},
    {"tsv", OPTION_SWITCH, &tsv, 0, "metrics frames as tab-separated lines with a header", 0, 0, 0,
     0},
    {"rows", OPTION_STRING, &rows, "LIST",
     "print the rows of these tensors, such as index,y, as tab-separated lines", 0, 0, 0, 0},
    {"npy", OPTION_STRING, &npy, "FILE", "write a tensor's rows of all frames as a numpy array", 0,
     0, 0, 0},
    {"tensor", OPTION_STRING, &tensor, "NAME", "that tensor", 0, 0, 0, 0},
    {0},
};

static const char details[] =
    "Prints, for each frame, its metadata and a line for each tensor: name, dtype, shape,\n"
    "minimum, mean and maximum of the finite elements, and how many are NaN or infinite.\n"
    "On the sheet, the views of an image are neighbouring tiles.\n"
    "\n"
    "With --npy, a second dimension of 1 is left out: h [B,1,D] makes an array (N,D).\n"
    "\n"
    "  inspect run/model.safetensors\n"
    "  augment --data shapes --steps 1 | inspect --png views.png";

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "inspect",
        .summary = "show what is in a stream of frames",
        .details = details,
        .options = {options, link_option_specs},
    };
    int operand = argc;
    options_parse(&program, argc, argv, &operand);
    if (argc - operand > 1)
        options_reject("one stream at a time, not %d", argc - operand);
    if (operand < argc)
        in = argv[operand];
}

/* Prints text from a stream, with '?' in place of characters that could control a terminal. Returns
 * the number of bytes printed. */
static int print_text(const char *text)
{
    int n = 0;
    for (; *text; text++, n++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
    return n;
}

static void pad(int from, int to)
{
    printf("%*s", to > from ? to - from : 0, "");
}

/* Writes a shape to out, as "[8,2,32,32,3]", and returns out. */
static const char *shape_text(const struct tensor *t, char *out, size_t size)
{
    int n = snprintf(out, size, "[");
    for (int i = 0; i < t->ndim; i++)
        n += snprintf(out + n, size - (size_t)n, "%s%" PRId64, i ? "," : "", t->shape[i]);
    snprintf(out + n, size - (size_t)n, "]");
    return out;
}

static void print_tensor(const struct tensor *t, int name_width, int shape_width)
{
    char shape[FRAME_MAX_DIMS * 21 + 3];
    struct statistics s = statistics_of(t);
    printf("  ");
    pad(print_text(t->name), name_width);
    printf("  %-5s  %-*s", dtype_name(t->dtype), shape_width, shape_text(t, shape, sizeof shape));
    if (s.count == 0)
        printf("  %12s  %12s  %12s", "-", "-", "-");
    else if (s.integer)
        printf("  %12" PRId64 "  %12.6g  %12" PRId64, s.int_min, s.mean, s.int_max);
    else
        printf("  %12.6g  %12.6g  %12.6g", s.min, s.mean, s.max);
    printf("  %6zu  %6zu\n", s.nan, s.inf);
}

static void print_frame(const struct frame *f, int64_t number)
{
    int key_width = 0, name_width = 6, shape_width = 5;
    char shape[FRAME_MAX_DIMS * 21 + 3];
    for (int i = 0; i < f->n_metas; i++)
        if ((int)strlen(f->metas[i].key) > key_width)
            key_width = (int)strlen(f->metas[i].key);
    for (int i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        int shape_length = (int)strlen(shape_text(t, shape, sizeof shape));
        if ((int)strlen(t->name) > name_width)
            name_width = (int)strlen(t->name);
        if (shape_length > shape_width)
            shape_width = shape_length;
    }
    if (number)
        putchar('\n');
    printf("frame %" PRId64 ": %d tensor%s, %zu bytes of data\n", number, f->n_tensors,
           f->n_tensors == 1 ? "" : "s", f->data_size);
    for (int i = 0; i < f->n_metas; i++) {
        printf("  ");
        pad(print_text(f->metas[i].key), key_width);
        printf("  ");
        print_text(f->metas[i].value);
        putchar('\n');
    }
    if (f->n_tensors)
        printf("  %-*s  dtype  %-*s  %12s  %12s  %12s  %6s  %6s\n", name_width, "tensor",
               shape_width, "shape", "min", "mean", "max", "nan", "inf");
    for (int i = 0; i < f->n_tensors; i++)
        print_tensor(&f->tensors[i], name_width, shape_width);
}

/* Prints the value of the key for scripts, or an empty line if the frame has no such key. */
static void print_meta(const struct frame *f)
{
    const char *value = frame_meta(f, meta);
    print_text(value ? value : "");
    putchar('\n');
}

static int draw(const struct frame *f)
{
    const struct tensor *x = frame_find(f, "x");
    if (!x)
        return fail("the first frame has no tensor 'x' to draw");
    if (contact_sheet_write(x, images, png))
        return -1;
    if (contact_sheet_note(x))
        warn_line("%s: %s", png, contact_sheet_note(x));
    return 0;
}

/* Prints what the flags ask for of frame n. */
static int print(const struct frame *f, int64_t n, struct metrics_columns *columns)
{
    if (n == 0 && tsv) {
        metrics_columns_of(f, columns);
        metrics_write_header(stdout, columns);
    }
    if (*rows)
        return rows_write(stdout, f, rows);
    if (*meta)
        print_meta(f);
    else if (tsv)
        metrics_write_row(stdout, columns, f);
    else if (!*npy)
        print_frame(f, n);
    return 0;
}

static int add_to_array(struct npy_write *array, const struct frame *f)
{
    const struct tensor *t = frame_find(f, tensor);
    return t ? npy_write_rows(array, t) : fail("the frame has no tensor '%s'", tensor);
}

/* Prints each frame and then flushes, so that a person can watch a live stream. */
static int show(struct source *source, struct npy_write *array)
{
    struct frame *f;
    struct metrics_columns columns = {0};
    enum source_result got = SOURCE_END;
    enum flush_result flushed = FLUSH_DONE;
    bool failed = false;
    for (int64_t n = 0; flushed == FLUSH_DONE && !failed && (!limit || n < limit); n++) {
        got = source_next(source, &f);
        if (got != SOURCE_FRAME)
            break;
        failed = print(f, n, &columns) || (*npy && add_to_array(array, f));
        flushed = flush_stdout();
        if (n == 0 && *png && flushed == FLUSH_DONE && !failed)
            failed = draw(f) != 0;
        frame_free(f);
    }
    if (*npy && flushed == FLUSH_READER_GONE) {
        fail("stdout was closed before %s was complete", npy);
        flushed = FLUSH_FAILED;
    }
    metrics_columns_free(&columns);
    return got == SOURCE_FAILED || flushed == FLUSH_FAILED || failed ? -1 : 0;
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    struct source *source = source_open(in, &link_options);
    if (!source)
        return warn_failure();
    struct npy_write array = {0};
    int result = *npy ? npy_write_open(&array, npy) : 0;
    if (result == 0)
        result = show(source, &array);
    if (result == 0 && *npy)
        result = npy_write_commit(&array);
    else if (*npy)
        npy_write_abandon(&array);
    source_close(source);
    return result ? warn_failure() : 0;
}
