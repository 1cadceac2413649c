#include "data/layout.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "data/classes.h"
#include "data/part.h"

enum {
    MAX_DEPTH = 32,       /* folders below one another; what lies deeper counts for the last one */
    MAX_FOLDERS = 1 << 22 /* of one set */
};

struct folder {
    char *name;
    size_t length;
    struct folder *parent;
    void *children;        /* a tree of tsearch(), in the order of names' bytes */
    int64_t images, below; /* in the folder itself; there and below it */
    int64_t label;
};

struct annotation {
    const char *file, *class; /* in the text */
    int64_t label;
};

struct layout {
    struct folder top;
    int64_t folders;
    char *wnids, *annotations;                /* texts, or NULL */
    struct folder *wnids_in, *annotations_in; /* where they lie */
    /* Settled. */
    const struct folder *root, *part;
    char *root_path, *part_path;
    bool has_parts;
    bool flat; /* no classes: all images of the part, wherever in it, have the label -1 or a text's
                */
    bool annotated;
    struct classes classes;
    int *numbers; /* of the classes, by their place in the order of bytes; NULL: that place */
    const char **names;
    struct annotation *listed; /* by file */
    int64_t n_listed, listed_capacity;
};

/* ---- folders ---- */

static int by_name(const void *a, const void *b)
{
    const struct folder *x = a, *y = b;
    const int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

struct walk {
    void (*visit)(struct folder *child, void *user);
    void *user;
};

static void step(const void *node, VISIT order, void *closure)
{
    const struct walk *w = closure;
    if (order == postorder || order == leaf)
        w->visit(*(struct folder *const *)node, w->user);
}

/* Visits the children in the order of their names' bytes. */
static void each_child(const struct folder *f, void (*visit)(struct folder *, void *), void *user)
{
    twalk_r(f->children, step, &(struct walk){visit, user});
}

static void free_folder(void *folder)
{
    struct folder *f = folder;
    tdestroy(f->children, free_folder); /* MAX_DEPTH bounds the recursion */
    free(f->name);
    free(f);
}

static struct folder *find_child(const struct folder *f, const char *name, size_t n)
{
    const struct folder key = {.name = (char *)name, .length = n};
    struct folder *const *found = tfind(&key, &f->children, by_name);
    return found ? *found : NULL;
}

static struct folder *add_child(struct layout *l, struct folder *f, const char *name, size_t n)
{
    struct folder *child = find_child(f, name, n);
    if (child)
        return child;
    if (l->folders == MAX_FOLDERS) {
        return fail_null("more than %d folders", MAX_FOLDERS);
    }
    child = calloc(1, sizeof *child);
    if (child)
        *child = (struct folder){.name = strndup(name, n), .length = n, .parent = f, .label = -1};
    if (!child || !child->name || !tsearch(child, &f->children, by_name)) {
        if (child)
            free(child->name);
        free(child);
        fail_memory(NULL);
        return NULL;
    }
    l->folders++;
    return child;
}

/* The folder that a path's last name lies in, made where it is not known; the depth of what is
 * found is bounded. NULL with a message. */
static struct folder *add_folder_of(struct layout *l, const char *path)
{
    struct folder *f = &l->top;
    const char *slash;
    for (int depth = 0; f && depth < MAX_DEPTH && (slash = strchr(path, '/')); depth++) {
        f = add_child(l, f, path, (size_t)(slash - path));
        path = slash + 1;
    }
    return f;
}

/* ---- what lies there ---- */

struct layout *layout_new(void)
{
    struct layout *l = calloc(1, sizeof *l);
    if (!l)
        fail_memory(NULL);
    return l;
}

void layout_free(struct layout *l)
{
    if (!l)
        return;
    tdestroy(l->top.children, free_folder);
    classes_free(&l->classes);
    free(l->wnids);
    free(l->annotations);
    free(l->root_path);
    free(l->part_path);
    free(l->numbers);
    free(l->names);
    free(l->listed);
    free(l);
}

int layout_add_image(struct layout *l, const char *path)
{
    struct folder *f = add_folder_of(l, path);
    if (!f)
        return -1;
    f->images++;
    for (; f; f = f->parent)
        f->below++;
    return 0;
}

int layout_add_folder(struct layout *l, const char *path)
{
    struct folder *f = add_folder_of(l, path);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return f && add_child(l, f, name, strlen(name)) ? 0 : -1;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool layout_wants_text(const char *path)
{
    const char *name = last_name(path);
    return strcmp(name, "wnids.txt") == 0 || strcmp(name, "val_annotations.txt") == 0;
}

int layout_add_text(struct layout *l, const char *path, const char *text)
{
    if (l->root) /* settled: this is another pass */
        return 0;
    const bool wnids = strcmp(last_name(path), "wnids.txt") == 0;
    char **to = wnids ? &l->wnids : &l->annotations;
    struct folder *f = add_folder_of(l, path);
    char *copy = f ? strdup(text) : NULL;
    if (!copy)
        return f ? fail_memory(path) : -1;
    free(*to);
    *to = copy;
    *(wnids ? &l->wnids_in : &l->annotations_in) = f;
    return 0;
}

bool layout_normalize(char *path)
{
    bool inside = true;
    char *to = path;
    for (const char *from = path; *from;) {
        const size_t n = strcspn(from, "/");
        if (n == 2 && from[0] == '.' && from[1] == '.') {
            inside &= to > path;
            while (to > path && *--to != '/')
                continue;
        } else if (n && !(n == 1 && *from == '.')) {
            if (to > path)
                *to++ = '/';
            memmove(to, from, n);
            to += n;
        }
        from += n + (from[n] == '/');
    }
    *to = '\0';
    return inside;
}

/* ---- the root and its parts ---- */

struct summary {
    int with_images; /* folders that have any */
    struct folder *last;
    int kinds[PART_UNLABELED + 1]; /* how many folders mean that part */
    struct folder *parts[PART_UNLABELED + 1];
};

static void summarize_child(struct folder *child, void *user)
{
    struct summary *s = user;
    const enum part part = part_named(child->name, child->length);
    if (part != PART_NONE && s->kinds[part]++ == 0)
        s->parts[part] = child;
    if (child->below) {
        s->with_images++;
        s->last = child;
    }
}

static struct summary summarize(const struct folder *f)
{
    struct summary s = {0};
    each_child(f, summarize_child, &s);
    return s;
}

static bool has_parts(const struct summary *s)
{
    for (int i = PART_TRAIN; i <= PART_UNLABELED; i++)
        if (s->kinds[i])
            return true;
    return false;
}

static const struct folder *find_root(const struct layout *l)
{
    const struct folder *f = &l->top;
    for (;;) {
        const struct summary s = summarize(f);
        if (has_parts(&s) || s.with_images > 1)
            return f;
        if (s.with_images == 0 || f->images)
            return &l->top;
        f = s.last;
    }
}

/* The path of a folder with a '/' at its end, or "". */
static char *path_of(const struct folder *f)
{
    size_t n = 0;
    for (const struct folder *at = f; at->parent; at = at->parent)
        n += at->length + 1;
    char *path = malloc(n + 1);
    if (!path)
        return NULL;
    path[n] = '\0';
    for (const struct folder *at = f; at->parent; at = at->parent) {
        path[--n] = '/';
        n -= at->length;
        memcpy(path + n, at->name, at->length);
    }
    return path;
}

static int find_part(struct layout *l, const char *name, enum part wanted, const char *split)
{
    const struct summary s = summarize(l->root);
    if (s.kinds[wanted] > 1)
        return fail("%s has %d folders that mean its %s part, %s among them", name, s.kinds[wanted],
                    split, s.parts[wanted]->name);
    l->part = s.parts[wanted];
    return l->part ? 0 : part_missing(name, split);
}

/* Does the part have folders of classes? */
static bool has_classes(const struct folder *part)
{
    return summarize(part).with_images > 0;
}

/* Does a part of Tiny ImageNet lie there as it was distributed, in one folder "images"? */
static bool is_unsorted(const struct folder *part)
{
    const struct summary s = summarize(part);
    return s.with_images == 0 || (s.with_images == 1 && strcmp(s.last->name, "images") == 0);
}

static bool is_tiny_imagenet(const struct layout *l, const struct summary *s)
{
    const struct folder *validation = s->parts[PART_VALIDATION];
    return l->wnids && l->annotations && validation && l->wnids_in == l->root &&
           l->annotations_in == validation && is_unsorted(validation);
}

static int choose_part(struct layout *l, const char *name, const char *split, bool hold)
{
    const struct summary s = summarize(l->root);
    const bool tiny = is_tiny_imagenet(l, &s);
    const bool tiny_test = tiny && s.parts[PART_TEST] && is_unsorted(s.parts[PART_TEST]);
    l->has_parts = has_parts(&s);
    if (hold && (s.kinds[PART_TEST] || s.kinds[PART_VALIDATION]))
        return part_refuse_hold(name);
    if (!l->has_parts) {
        l->part = l->root;
        return hold || strcmp(split, "train") == 0 ? 0 : part_missing(name, split);
    }
    if (hold || strcmp(split, "train") == 0)
        return find_part(l, name, PART_TRAIN, "train");
    if (strcmp(split, "unlabeled") == 0) {
        l->flat = true;
        return find_part(l, name, tiny_test ? PART_TEST : PART_UNLABELED, split);
    }
    const bool validation = !s.kinds[PART_TEST] || tiny_test;
    l->annotated = l->flat = tiny && validation;
    return find_part(l, name, validation ? PART_VALIDATION : PART_TEST, split);
}

/* ---- classes ---- */

struct naming {
    struct layout *layout;
    bool tiny; /* Tiny ImageNet, whose folders "images" are no classes */
    int result;
};

static void add_class(struct folder *child, void *user)
{
    struct naming *n = user;
    if (child->below && n->result == 0)
        n->result = classes_add(&n->layout->classes, child->name);
}

static void add_classes_of_part(struct folder *child, void *user)
{
    const enum part part = part_named(child->name, child->length);
    const struct naming *n = user;
    if (part == PART_TRAIN ||
        ((part == PART_TEST || part == PART_VALIDATION) && !(n->tiny && is_unsorted(child))))
        each_child(child, add_class, user);
}

static int collect_classes(struct layout *l, bool tiny)
{
    struct naming n = {l, tiny, 0};
    if (l->has_parts)
        each_child(l->root, add_classes_of_part, &n);
    else
        each_child(l->root, add_class, &n);
    return n.result;
}

/* The next line of a text, cut at its end, without a carriage return; NULL at the end. */
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

/* Classes are those of wnids.txt, in its order. */
static int read_wnids(struct layout *l, const char *name)
{
    struct classes among = l->classes; /* what folders there are */
    l->classes = (struct classes){0};
    char *at = l->wnids, *line;
    int result = 0;
    int64_t n = 0, capacity = 0;
    while (result == 0 && (line = next_line(&at))) {
        if (!*line)
            continue;
        const char **grown = grow(l->names, n, &capacity, sizeof *grown);
        if (!grown)
            result = fail_memory(name);
        else {
            l->names = grown;
            l->names[n++] = line;
            const int before = l->classes.n;
            result = classes_add(&l->classes, line);
            if (result == 0 && l->classes.n == before)
                result = fail("%s: wnids.txt names %s twice", name, line);
        }
    }
    for (int i = 0; i < among.n && result == 0; i++)
        if (classes_number(&l->classes, among.names[i]) < 0)
            result = fail("%s: wnids.txt does not name the class %s", name, among.names[i]);
    classes_free(&among);
    if (result)
        return -1;
    l->numbers = calloc((size_t)n + 1, sizeof *l->numbers);
    if (!l->numbers)
        return fail_memory(name);
    for (int64_t i = 0; i < n; i++)
        l->numbers[classes_number(&l->classes, l->names[i])] = (int)i;
    return 0;
}

static int64_t number_of(const struct layout *l, const char *class)
{
    const int place = classes_number(&l->classes, class);
    return place < 0 || !l->numbers ? place : l->numbers[place];
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct annotation *)a)->file, ((const struct annotation *)b)->file);
}

/* Lines of val_annotations.txt: file, class and a box, separated by tabs. */
static int read_annotations(struct layout *l, const char *name)
{
    char *at = l->annotations, *line;
    for (int64_t number = 1; (line = next_line(&at)); number++) {
        if (!*line)
            continue;
        char *rest = line;
        struct annotation a = {.file = strsep(&rest, "\t"), .class = strsep(&rest, "\t")};
        a.label = a.class ? number_of(l, a.class) : -1;
        if (a.label < 0)
            return fail("%s: val_annotations.txt: line %lld names no class of wnids.txt", name,
                        (long long)number);
        struct annotation *grown = grow(l->listed, l->n_listed, &l->listed_capacity, sizeof *grown);
        if (!grown)
            return fail_memory(name);
        l->listed = grown;
        l->listed[l->n_listed++] = a;
    }
    if (l->n_listed)
        qsort(l->listed, (size_t)l->n_listed, sizeof *l->listed, by_file);
    for (int64_t i = 1; i < l->n_listed; i++)
        if (strcmp(l->listed[i].file, l->listed[i - 1].file) == 0)
            return fail("%s: val_annotations.txt names %s twice", name, l->listed[i].file);
    return 0;
}

static int name_classes(struct layout *l, const char *name)
{
    const struct summary s = summarize(l->root);
    const bool tiny = is_tiny_imagenet(l, &s);
    if (collect_classes(l, tiny))
        return fail_prefix("%s", name);
    if (tiny)
        return read_wnids(l, name) || read_annotations(l, name) ? -1 : 0;
    l->names = calloc((size_t)l->classes.n + 1, sizeof *l->names);
    if (!l->names)
        return fail_memory(name);
    for (int i = 0; i < l->classes.n; i++)
        l->names[i] = l->classes.names[i];
    return 0;
}

static void label_class(struct folder *child, void *user)
{
    child->label = number_of(user, child->name);
}

int layout_settle(struct layout *l, const char *name, const char *split, bool hold)
{
    l->root = find_root(l);
    if (choose_part(l, name, split, hold) || name_classes(l, name))
        return -1;
    l->flat |= !has_classes(l->part);
    each_child(l->part, label_class, l);
    l->root_path = path_of(l->root);
    l->part_path = path_of(l->part);
    return l->root_path && l->part_path ? 0 : fail_memory(name);
}

/* ---- what was settled ---- */

const char *layout_root(const struct layout *l)
{
    return l->root_path;
}

bool layout_has_parts(const struct layout *l)
{
    return l->has_parts;
}

const char *layout_part(const struct layout *l)
{
    return l->part_path;
}

/* The rest of a path below a folder, or NULL: it does not lie there. */
static const char *below(const struct folder *f, const char *path)
{
    if (!f->parent)
        return path;
    const char *rest = below(f->parent, path); /* MAX_DEPTH bounds the recursion */
    return rest && strncmp(rest, f->name, f->length) == 0 && rest[f->length] == '/'
               ? rest + f->length + 1
               : NULL;
}

const char *layout_name(const struct layout *l, const char *path)
{
    const char *rest = below(l->root, path);
    return rest ? rest : path;
}

static enum layout_place find_outside(const struct layout *l, const char *path)
{
    const char *rest = below(l->root, path);
    const size_t n = rest ? strcspn(rest, "/") : 0;
    return rest && rest[n] == '/' && part_named(rest, n) != PART_NONE ? LAYOUT_OTHER_PART
                                                                      : LAYOUT_BESIDE_PARTS;
}

enum layout_place layout_find(const struct layout *l, const char *path, int64_t *label)
{
    const char *rest = below(l->part, path);
    *label = -1;
    if (!rest)
        return find_outside(l, path);
    if (l->annotated) {
        const struct annotation key = {.file = last_name(path)};
        const struct annotation *a =
            l->n_listed ? bsearch(&key, l->listed, (size_t)l->n_listed, sizeof *l->listed, by_file)
                        : NULL;
        *label = a ? a->label : -1;
        return a ? LAYOUT_IN_PART : LAYOUT_UNLISTED;
    }
    if (l->flat)
        return LAYOUT_IN_PART;
    const size_t n = strcspn(rest, "/");
    const struct folder *class = rest[n] ? find_child(l->part, rest, n) : NULL;
    if (!class)
        return LAYOUT_BESIDE_CLASSES;
    *label = class->label;
    return LAYOUT_IN_PART;
}

static void count_part(struct folder *child, void *user)
{
    if (part_named(child->name, child->length) != PART_NONE)
        *(int64_t *)user += child->below;
}

struct layout_counts layout_count(const struct layout *l)
{
    struct layout_counts counts = {.here = l->part->below};
    if (!l->flat) {
        counts.beside_classes = l->part->images;
        counts.here -= l->part->images;
    }
    if (l->has_parts) {
        int64_t in_parts = 0;
        each_child(l->root, count_part, &in_parts);
        counts.beside_parts = l->root->below - in_parts;
    }
    return counts;
}

const char *const *layout_class_names(const struct layout *l, int *n)
{
    *n = l->classes.n;
    return l->classes.n ? l->names : NULL;
}
