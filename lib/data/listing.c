#include "data/listing.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/stop.h"
#include "data/brace_expand.h"

static void write_text(const char *text, FILE *out)
{
    for (; *text; text++)
        switch (*text) {
        case '\t':
            fputs("\\t", out);
            break;
        case '\n':
            fputs("\\n", out);
            break;
        case '\r':
            fputs("\\r", out);
            break;
        case '\\':
            fputs("\\\\", out);
            break;
        default:
            fputc(*text, out);
        }
}

static void write_line(const struct dataset *set, int64_t index, int64_t label,
                       const struct dataset_origin *from, bool archives, FILE *out)
{
    const char *const *names = dataset_class_names(set);
    fprintf(out, "%" PRId64 "\t%" PRId64 "\t", index, label);
    if (names && label >= 0 && label < dataset_classes(set))
        write_text(names[label], out);
    fputc('\t', out);
    write_text(from->member ? from->member : from->file, out);
    if (from->number >= 0)
        fprintf(out, ":%" PRId64, from->number);
    if (archives) {
        fputc('\t', out);
        write_text(from->file, out);
    }
    fputc('\n', out);
}

static void list_indexed(const struct data_source *source, bool archives, FILE *out)
{
    for (int64_t i = 0; i < source->sampler.images && !ferror(out); i++) {
        const int64_t image = source->subset.images ? source->subset.images[i] : i;
        struct dataset_origin from;
        dataset_origin(source->set, image, &from);
        write_line(source->set, image, dataset_label(source->set, image), &from, archives, out);
    }
}

/* Lists a stream, of which every image must be read to find the next one. */
static int list_stream(struct data_source *source, bool archives, FILE *out)
{
    struct sample s = {0};
    enum dataset_result got = DATASET_SAMPLE;
    for (int64_t i = 0; i < source->sampler.images && !ferror(out); i++) {
        got = stop_check() ? DATASET_FAILED : dataset_next(source->set, &s);
        if (got != DATASET_SAMPLE)
            break;
        struct dataset_origin from = {s.file, s.member, -1};
        if (!s.member)
            dataset_origin(source->set, i, &from);
        write_line(source->set, i, s.label, &from, archives, out);
    }
    if (got == DATASET_SAMPLE && dataset_count_is_given(source->set) &&
        source->sampler.images == dataset_count(source->set))
        got = dataset_next(source->set, &s); /* it compares the number of images */
    sample_free(&s);
    return got == DATASET_FAILED ? -1 : 0;
}

int listing_write(struct data_source *source, FILE *out)
{
    char **paths;
    int64_t n = dataset_commands(source->set);
    if (!n && brace_expand(source->data, &paths, &n) == 0)
        brace_expand_free(paths, n);
    if (!n)
        return -1;
    if (dataset_is_stream(source->set))
        return list_stream(source, n > 1, out);
    list_indexed(source, n > 1, out);
    return 0;
}
