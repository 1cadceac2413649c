#include "data/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/classes.h"
#include "data/folder_tree.h"
#include "data/part.h"
#include "data/tiny_imagenet.h"

struct layout {
    struct folder_tree tree;
    struct tiny_imagenet tiny;
    /* layout_settle() sets these. */
    const struct folder *root, *part;
    char *root_path, *part_path;
    bool has_parts;
    bool flat;      /* images of the part have no classes, whatever their folders */
    bool annotated; /* but they have those of val_annotations.txt */
    struct classes classes;
    const char **names; /* of the classes, by number */
};

/* ---- what is added ---- */

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
    folder_tree_free(&l->tree);
    tiny_imagenet_free(&l->tiny);
    classes_free(&l->classes);
    free(l->root_path);
    free(l->part_path);
    free(l->names);
    free(l);
}

int layout_add_image(struct layout *l, const char *path)
{
    return folder_tree_add_image(&l->tree, path);
}

int layout_add_folder(struct layout *l, const char *path)
{
    return folder_tree_add_folder(&l->tree, path);
}

bool layout_wants_text(const char *path)
{
    return tiny_imagenet_is_text(path);
}

int layout_add_text(struct layout *l, const char *path, const char *text)
{
    if (l->root) /* the layout is settled, and this is another pass */
        return 0;
    const struct folder *in = folder_tree_add_parent(&l->tree, path);
    return in ? tiny_imagenet_add_text(&l->tiny, path, text, in) : -1;
}

/* ---- the root and its parts ---- */

/* A summary of a folder's children. */
struct summary {
    int with_images;     /* number of children with images in them or below them */
    struct folder *last; /* the last of those children */
    /* For each enum part: the number of children whose names mean that part, and the first of
     * them. */
    int kinds[PART_UNLABELED + 1];
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
    folder_tree_each_child(f, summarize_child, &s);
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
    const struct folder *f = &l->tree.top;
    for (;;) {
        const struct summary s = summarize(f);
        if (has_parts(&s) || s.with_images > 1)
            return f;
        if (s.with_images == 0 || f->images)
            return &l->tree.top;
        f = s.last;
    }
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

static bool has_classes(const struct folder *part)
{
    return summarize(part).with_images > 0;
}

/* Returns true if all images of a part are in one folder "images", as those of val and test are in
 * the distributed Tiny ImageNet. */
static bool is_unsorted(const struct folder *part)
{
    const struct summary s = summarize(part);
    return s.with_images == 0 || (s.with_images == 1 && strcmp(s.last->name, "images") == 0);
}

static bool is_tiny_imagenet(const struct layout *l, const struct summary *s)
{
    const struct folder *validation = s->parts[PART_VALIDATION];
    return l->tiny.wnids && l->tiny.annotations && validation && l->tiny.wnids_in == l->root &&
           l->tiny.annotations_in == validation && is_unsorted(validation);
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
    bool tiny; /* it is Tiny ImageNet, where the folders "images" of val and test are not classes */
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
        folder_tree_each_child(child, add_class, user);
}

static int collect_classes(struct layout *l, bool tiny)
{
    struct naming n = {l, tiny, 0};
    if (l->has_parts)
        folder_tree_each_child(l->root, add_classes_of_part, &n);
    else
        folder_tree_each_child(l->root, add_class, &n);
    return n.result;
}

static int name_classes(struct layout *l, const char *name)
{
    const struct summary s = summarize(l->root);
    const bool tiny = is_tiny_imagenet(l, &s);
    if (collect_classes(l, tiny))
        return fail_prefix("%s", name);
    if (tiny)
        return tiny_imagenet_read_wnids(&l->tiny, name, &l->classes, &l->names) ||
                       tiny_imagenet_read_annotations(&l->tiny, name, &l->classes)
                   ? -1
                   : 0;
    l->names = calloc((size_t)l->classes.n + 1, sizeof *l->names);
    if (!l->names)
        return fail_memory(name);
    for (int i = 0; i < l->classes.n; i++)
        l->names[i] = l->classes.names[i];
    return 0;
}

static void label_class(struct folder *child, void *user)
{
    child->label = classes_number(user, child->name);
}

int layout_settle(struct layout *l, const char *name, const char *split, bool hold)
{
    l->root = find_root(l);
    if (choose_part(l, name, split, hold) || name_classes(l, name))
        return -1;
    l->flat |= !has_classes(l->part);
    folder_tree_each_child(l->part, label_class, &l->classes);
    l->root_path = folder_tree_path(l->root);
    l->part_path = folder_tree_path(l->part);
    return l->root_path && l->part_path ? 0 : fail_memory(name);
}

/* ---- a layout that is settled ---- */

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

const char *layout_name(const struct layout *l, const char *path)
{
    const char *rest = folder_tree_below(l->root, path);
    return rest ? rest : path;
}

static enum layout_place find_outside(const struct layout *l, const char *path)
{
    const char *rest = folder_tree_below(l->root, path);
    const size_t n = rest ? strcspn(rest, "/") : 0;
    return rest && rest[n] == '/' && part_named(rest, n) != PART_NONE ? LAYOUT_OTHER_PART
                                                                      : LAYOUT_BESIDE_PARTS;
}

enum layout_place layout_find(const struct layout *l, const char *path, int64_t *label)
{
    const char *rest = folder_tree_below(l->part, path);
    *label = -1;
    if (!rest)
        return find_outside(l, path);
    if (l->annotated)
        return tiny_imagenet_find(&l->tiny, basename(path), label) ? LAYOUT_IN_PART
                                                                   : LAYOUT_UNLISTED;
    if (l->flat)
        return LAYOUT_IN_PART;
    const size_t n = strcspn(rest, "/");
    const struct folder *class = rest[n] ? folder_tree_find_child(l->part, rest, n) : NULL;
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
    struct layout_counts counts = {.in_part = l->part->below};
    if (!l->flat) {
        counts.beside_classes = l->part->images;
        counts.in_part -= l->part->images;
    }
    if (l->has_parts) {
        int64_t in_parts = 0;
        folder_tree_each_child(l->root, count_part, &in_parts);
        counts.beside_parts = l->root->below - in_parts;
    }
    return counts;
}

const char *const *layout_class_names(const struct layout *l, int *n)
{
    *n = l->classes.n;
    return l->classes.n ? l->names : NULL;
}
