#include "data/tiny_imagenet.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

void tiny_imagenet_free(struct tiny_imagenet *t)
{
    free(t->wnids);
    free(t->annotations);
    free(t->list);
    *t = (struct tiny_imagenet){0};
}

static bool is_wnids(const char *path)
{
    return strcmp(basename(path), "wnids.txt") == 0;
}

bool tiny_imagenet_is_text(const char *path)
{
    return is_wnids(path) || strcmp(basename(path), "val_annotations.txt") == 0;
}

int tiny_imagenet_add_text(struct tiny_imagenet *t, const char *path, const char *text,
                           const struct folder *in)
{
    char *copy = strdup(text);
    if (!copy)
        return fail_memory(path);
    char **to = is_wnids(path) ? &t->wnids : &t->annotations;
    free(*to);
    *to = copy;
    *(is_wnids(path) ? &t->wnids_in : &t->annotations_in) = in;
    return 0;
}

/* Returns the next line of a text, cut at its end and without a carriage return, or NULL at the
 * end. */
static char *next_line(char **text)
{
    char *line = *text;
    if (!*line)
        return NULL;
    const size_t n = strcspn(line, "\n");
    *text += n + (line[n] == '\n');
    line[n] = '\0';
    if (n && line[n - 1] == '\r')
        line[n - 1] = '\0';
    return line;
}

/* Adds the lines of wnids.txt to the classes and to the names. Sets *n to their number. */
static int read_names(struct tiny_imagenet *t, const char *name, struct classes *classes,
                      const char ***names, int *n)
{
    char *at = t->wnids, *line;
    int64_t capacity = 0;
    while ((line = next_line(&at))) {
        if (!*line)
            continue;
        const char **grown = grow(*names, *n, &capacity, sizeof *grown);
        if (!grown)
            return fail_memory(name);
        *names = grown;
        (*names)[(*n)++] = line;
        const int before = classes->n;
        if (classes_add(classes, line))
            return -1;
        if (classes->n == before)
            return fail("%s: wnids.txt names %s twice", name, line);
    }
    return 0;
}

int tiny_imagenet_read_wnids(struct tiny_imagenet *t, const char *name, struct classes *classes,
                             const char ***names)
{
    struct classes of_folders = *classes;
    *classes = (struct classes){0};
    int n = 0, result = read_names(t, name, classes, names, &n);
    for (int i = 0; i < of_folders.n && result == 0; i++)
        if (classes_number(classes, of_folders.names[i]) < 0)
            result = fail("%s: wnids.txt does not name the class %s", name, of_folders.names[i]);
    classes_free(&of_folders);
    return result ? -1 : classes_order(classes, *names);
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct tiny_annotation *)a)->file,
                  ((const struct tiny_annotation *)b)->file);
}

int tiny_imagenet_read_annotations(struct tiny_imagenet *t, const char *name,
                                   const struct classes *classes)
{
    char *at = t->annotations, *line;
    for (int64_t number = 1; (line = next_line(&at)); number++) {
        if (!*line)
            continue;
        char *rest = line;
        const char *file = strsep(&rest, "\t"), *class = strsep(&rest, "\t");
        const int64_t label = class ? classes_number(classes, class) : -1;
        if (label < 0)
            return fail("%s: val_annotations.txt: line %lld names no class of wnids.txt", name,
                        (long long)number);
        struct tiny_annotation *grown = grow(t->list, t->n, &t->capacity, sizeof *grown);
        if (!grown)
            return fail_memory(name);
        t->list = grown;
        t->list[t->n++] = (struct tiny_annotation){file, label};
    }
    if (t->n)
        qsort(t->list, (size_t)t->n, sizeof *t->list, by_file);
    for (int64_t i = 1; i < t->n; i++)
        if (strcmp(t->list[i].file, t->list[i - 1].file) == 0)
            return fail("%s: val_annotations.txt names %s twice", name, t->list[i].file);
    return 0;
}

bool tiny_imagenet_find(const struct tiny_imagenet *t, const char *file, int64_t *label)
{
    const struct tiny_annotation key = {.file = file};
    const struct tiny_annotation *found =
        t->n ? bsearch(&key, t->list, (size_t)t->n, sizeof *t->list, by_file) : NULL;
    if (found)
        *label = found->label;
    return found != NULL;
}
