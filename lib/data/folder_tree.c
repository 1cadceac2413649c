#include "data/folder_tree.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

enum { MAX_DEPTH = 32, MAX_FOLDERS = 1 << 22 };

static int by_name(const void *a, const void *b)
{
    const struct folder *x = a, *y = b;
    const int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

struct child_visit {
    void (*visit)(struct folder *child, void *user);
    void *user;
};

static void step(const void *node, VISIT order, void *closure)
{
    const struct child_visit *v = closure;
    if (order == postorder || order == leaf)
        v->visit(*(struct folder *const *)node, v->user);
}

void folder_tree_each_child(const struct folder *f, void (*visit)(struct folder *child, void *user),
                            void *user)
{
    twalk_r(f->children, step, &(struct child_visit){visit, user});
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

static struct folder *add_child(struct folder_tree *t, struct folder *f, const char *name, size_t n)
{
    struct folder *child = find_child(f, name, n);
    if (child)
        return child;
    if (t->n == MAX_FOLDERS)
        return fail_null("more than %d folders", MAX_FOLDERS);
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
    t->n++;
    return child;
}

struct folder *folder_tree_add_parent(struct folder_tree *t, const char *path)
{
    struct folder *f = &t->top;
    const char *slash;
    for (int depth = 0; f && depth < MAX_DEPTH && (slash = strchr(path, '/')); depth++) {
        f = add_child(t, f, path, (size_t)(slash - path));
        path = slash + 1;
    }
    return f;
}

int folder_tree_add_image(struct folder_tree *t, const char *path)
{
    struct folder *f = folder_tree_add_parent(t, path);
    if (!f)
        return -1;
    f->images++;
    for (; f; f = f->parent)
        f->below++;
    return 0;
}

int folder_tree_add_folder(struct folder_tree *t, const char *path)
{
    struct folder *f = folder_tree_add_parent(t, path);
    const char *name = basename(path);
    return f && add_child(t, f, name, strlen(name)) ? 0 : -1;
}

const struct folder *folder_tree_find_child(const struct folder *f, const char *name, size_t n)
{
    return find_child(f, name, n);
}

void folder_tree_free(struct folder_tree *t)
{
    tdestroy(t->top.children, free_folder);
    *t = (struct folder_tree){0};
}

char *folder_tree_path(const struct folder *f)
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

const char *folder_tree_below(const struct folder *f, const char *path)
{
    if (!f->parent)
        return path;
    const char *rest = folder_tree_below(f->parent, path); /* MAX_DEPTH bounds the recursion */
    return rest && strncmp(rest, f->name, f->length) == 0 && rest[f->length] == '/'
               ? rest + f->length + 1
               : NULL;
}
