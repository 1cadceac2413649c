#include "weights/weights.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "base/warn.h"
#include "network/encoder.h"
#include "network/projector.h"
#include "python/torch_file.h"
#include "weights/derive.h"
#include "weights/naming.h"
#include "weights/safetensors.h"

enum { MAX_CONFIG = 1 << 20 }; /* bytes of a config.json */

/* The names of a file's tensors, before any is read. */
struct contents {
    char **names;
    int n;
    int64_t room;
    bool failed; /* memory is out */
    struct naming naming;
};

/* ---- names ---- */

/* Notes the name of a tensor, and wants none. */
static bool note(const char *name, void *context)
{
    struct contents *c = context;
    char **names = grow(c->names, c->n, &c->room, sizeof *names);
    if (names)
        c->names = names;
    if (!names || !(names[c->n] = strdup(name)))
        c->failed = true;
    else
        c->n++;
    return false;
}

static void free_contents(struct contents *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->names[i]);
    free(c->names);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Checks the config.json that Hugging Face's programs write beside the weights, if there is one: it
 * says what names and shapes do not, whether the network is another one than here. */
static int check_config(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *config, *text = NULL;
    if (asprintf(&config, "%.*sconfig.json", slash ? (int)(slash - path + 1) : 0, path) < 0)
        return fail_memory(path);
    json_error_t error;
    json_t *said =
        regular_file_text(config, MAX_CONFIG, &text) ? NULL : json_loads(text, 0, &error);
    const char *act = json_string_value(json_object_get(said, "hidden_act"));
    int bad = 0;
    if (json_is_true(json_object_get(said, "downsample_in_bottleneck")))
        bad =
            fail("%s: %s says downsample_in_bottleneck, and bottlenecks here have their stride in "
                 "the second convolution",
                 path, config);
    else if (act && strcmp(act, "relu") != 0)
        bad = fail("%s: %s says hidden_act %.40s, and networks here have relu", path, config, act);
    json_decref(said);
    free(text);
    free(config);
    return bad;
}

/* Finds the encoder among the names. */
static int understand(struct contents *c, const char *path)
{
    if (c->failed)
        return fail_memory(path);
    if (c->n)
        qsort(c->names, (size_t)c->n, sizeof *c->names, by_text);
    if (naming_find(&c->naming, (const char *const *)c->names, c->n))
        return fail_prefix("%s", path);
    if (*c->naming.passed)
        warn_line("%s: the encoder is read from %s*, not from the moving average in %s*", path,
                  c->naming.prefix, c->naming.passed);
    return c->naming.form == NAMING_HUGGING_FACE ? check_config(path) : 0;
}

static bool is_wanted(const char *name, void *context)
{
    const struct contents *c = context;
    char own[NAMING_TEXT];
    return naming_translate(&c->naming, name, own);
}

/* ---- reading ---- */

static struct frame *load_safetensors(const char *path, struct contents *c)
{
    struct safetensors *s = safetensors_open(path);
    if (!s)
        return NULL;
    for (int i = 0; i < safetensors_count(s); i++)
        note(safetensors_name(s, i), c);
    struct frame *f = understand(c, path) ? NULL : safetensors_read(s, is_wanted, c);
    safetensors_close(s);
    return f;
}

/* Reads a file of PyTorch twice: the first time it only gets the names. */
static struct frame *load_torch(const char *path, struct contents *c)
{
    struct frame *names = torch_file_load(path, note, c);
    if (!names)
        return NULL;
    frame_free(names);
    if (c->n == 0)
        return fail_null("%s: holds no tensors; torch.save(model.state_dict(), FILE) writes them",
                         path);
    return understand(c, path) ? NULL : torch_file_load(path, is_wanted, c);
}

/* ---- this project's names ---- */

/* Gives the tensors their names here. Returns -1 with a message if two get the same. */
static int rename_tensors(struct frame *f, const struct naming *naming, const char *path)
{
    char **names = calloc((size_t)f->n_tensors + 1, sizeof *names);
    char own[NAMING_TEXT];
    int bad = names ? 0 : fail_memory(path);
    for (int i = 0; i < f->n_tensors && !bad; i++) {
        struct tensor *t = &f->tensors[i];
        char *name = naming_translate(naming, t->name, own) ? strdup(own) : NULL;
        if (!name) {
            bad = fail_memory(path);
            break;
        }
        free(t->name);
        names[i] = t->name = name;
    }
    if (!bad && f->n_tensors)
        qsort(names, (size_t)f->n_tensors, sizeof *names, by_text);
    for (int i = 1; i < f->n_tensors && !bad; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            bad = fail("%s: two tensors are %s of the network", path, names[i]);
    free(names);
    return bad;
}

/* Drops the bias of the head's last norm if it is zero. `project` has none there, and other
 * programs have one that stays zero. */
static struct frame *without_last_bias(struct frame *f)
{
    struct projector p;
    char name[48];
    if (!derive_projector(f, &p))
        return f;
    snprintf(name, sizeof name, "projector.%" PRId64 ".bias", 3 * p.layers - 2);
    const struct tensor *t = frame_find(f, name);
    if (!t || t->dtype != DTYPE_F32)
        return f;
    for (size_t i = 0; i < tensor_count(t); i++)
        if (((const float *)t->data)[i] != 0)
            return f;
    struct frame *rest = frame_derive(f, NULL, 0, (const char *const[]){name, NULL});
    frame_free(f);
    return rest;
}

/* ---- metadata ---- */

/* Adds a derived description. */
static void add(struct frame *f, const char *key, const char *text)
{
    const char *before = frame_meta(f, "derived");
    char list[96];
    snprintf(list, sizeof list, "%s%s%s", before ? before : "", before ? "," : "", key);
    frame_set_meta(f, key, text);
    frame_set_meta(f, "derived", list);
}

/* Describes what the file's metadata do not. */
static void describe(struct frame *f)
{
    struct encoder e;
    struct projector p;
    char encoder[ENCODER_TEXT], projector[PROJECTOR_TEXT], classes[48];
    frame_drop_meta(f, "derived");
    if (!frame_meta(f, "encoder") && derive_encoder(f, &e)) {
        encoder_print(&e, encoder);
        add(f, "encoder", encoder);
    }
    if (!frame_meta(f, "projector") && derive_projector(f, &p)) {
        projector_print(&p, projector);
        add(f, "projector", projector);
    }
    if (!frame_meta(f, "classifier") && derive_classes(f) > 0) {
        snprintf(classes, sizeof classes, "classes=%" PRId64, derive_classes(f));
        add(f, "classifier", classes);
    }
}

/* Lists what is in the file and was not read, each part once. */
static void list_unread(struct frame *f, const struct contents *c)
{
    enum { LISTED = 8, SHOWN = 48 };
    char parts[LISTED][NAMING_TEXT], text[LISTED * (SHOWN + 8) + 32] = "";
    int n = 0, more = 0;
    size_t length = 0;
    frame_drop_meta(f, "unread");
    for (int i = 0; i < c->n; i++) {
        char own[NAMING_TEXT], part[NAMING_TEXT];
        if (naming_translate(&c->naming, c->names[i], own))
            continue;
        naming_part(&c->naming, c->names[i], part);
        bool known = false;
        for (int k = 0; k < n && !known; k++)
            known = strcmp(parts[k], part) == 0;
        if (known)
            continue;
        if (n == LISTED) {
            more++;
            continue;
        }
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%.*s", n ? ", " : "",
                                   SHOWN, part);
        memcpy(parts[n++], part, sizeof part);
    }
    if (more)
        snprintf(text + length, sizeof text - length, " and more");
    if (n)
        frame_set_meta(f, "unread", text);
}

struct frame *weights_load(const char *path)
{
    struct contents c = {0};
    struct stat status;
    /* A pipe can be read only once, so it can't be looked at first. */
    const bool regular = stat(path, &status) == 0 && S_ISREG(status.st_mode);
    struct frame *f =
        regular && torch_file_recognize(path) ? load_torch(path, &c) : load_safetensors(path, &c);
    if (f && rename_tensors(f, &c.naming, path)) {
        frame_free(f);
        f = NULL;
    }
    if (f && (f = without_last_bias(f))) {
        list_unread(f, &c);
        describe(f);
    }
    free_contents(&c);
    return f;
}

bool weights_derived(const struct frame *f, const char *key)
{
    const char *list = frame_meta(f, "derived");
    while (list && *list) {
        const size_t n = strcspn(list, ",");
        if (n == strlen(key) && !strncmp(list, key, n))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}
