#include "run/run_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"
#include "frame/frame_io.h"

static char *path_of(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fail_null("out of memory");
    return path;
}

static int read_at(int fd, void *bytes, size_t n, off_t at, const char *path)
{
    const ssize_t got = pread(fd, bytes, n, at);
    if (got < 0)
        return fail("%s: %s", path, strerror(errno));
    return (size_t)got == n ? 0 : fail("%s: cut short", path);
}

/* Reads the header of a file of `size` bytes. Returns a frame that has the tensors, but not their
 * values. */
static struct frame *read_header(int fd, int64_t size, const char *path)
{
    unsigned char prefix[8];
    if (size == 0)
        return fail_null("%s: empty", path);
    if (read_at(fd, prefix, sizeof prefix, 0, path))
        return NULL;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | prefix[i];
    if (length < 2 || length > FRAME_MAX_HEADER)
        return fail_null("%s: a header of %llu bytes: no frame", path, (unsigned long long)length);
    if (length > (uint64_t)size - 8)
        return fail_null("%s: cut short in the header", path);
    char *json = malloc((size_t)length + 1);
    struct frame *f = NULL;
    unsigned char *data;
    if (!json)
        fail_memory(path);
    else if (!read_at(fd, json, (size_t)length, 8, path)) {
        json[length] = 0;
        f = frame_from_header(json, (size_t)length, SIZE_MAX / 2, path, &data);
    }
    free(json);
    if (f && f->data_size != (uint64_t)size - 8 - length) {
        fail("%s: has %lld bytes of data where its header says %zu", path,
             (long long)(size - 8 - (int64_t)length), f->data_size);
        frame_free(f);
        return NULL;
    }
    return f;
}

static struct frame *load_header(const char *path)
{
    int64_t size;
    const int fd = regular_file_open(path, &size);
    if (fd < 0)
        return NULL;
    struct frame *f = read_header(fd, size, path);
    close(fd);
    return f;
}

static int take_counts(const struct frame *f, const char *path, struct run_state *state)
{
    const char *kind = frame_meta(f, "kind");
    if (!kind || strcmp(kind, "state") || !frame_meta(f, "step"))
        return fail("%s: not an optimizer's state", path);
    if (frame_meta_int(f, "step", 0, &state->step) || frame_meta_int(f, "steps", 0, &state->steps))
        return -1;
    if (state->step < 0 || state->steps < 0)
        return fail("%s: step %lld of %lld", path, (long long)state->step, (long long)state->steps);
    state->saved = true;
    return 0;
}

int run_state_read(const char *folder, struct run_state *state)
{
    *state = (struct run_state){0};
    char *path = path_of(folder, "state.safetensors");
    struct stat status;
    if (!path)
        return -1;
    int bad = 0;
    if (!lstat(path, &status)) {
        struct frame *f = load_header(path);
        bad = !f || take_counts(f, path, state) ? -1 : 0;
        frame_free(f);
    } else if (errno != ENOENT)
        bad = fail("%s: %s", path, strerror(errno));
    free(path);
    return bad;
}

int run_state_check_file(const char *path)
{
    struct frame *f = load_header(path);
    frame_free(f);
    return f ? 0 : -1;
}

/* Copies the parameters and buffers of a state. Names with a slash (momentum/conv1.weight) are the
 * optimizer's own tensors, and loss.* the state of a loss (program/parameter_name.h). */
static struct frame *model_of(const struct frame *state)
{
    struct tensor_spec *specs = calloc((size_t)state->n_tensors + 1, sizeof *specs);
    int n = 0;
    for (int i = 0; specs && i < state->n_tensors; i++)
        if (!strchr(state->tensors[i].name, '/') && strncmp(state->tensors[i].name, "loss.", 5))
            specs[n++] = tensor_spec_of(&state->tensors[i]);
    struct frame *model = specs ? frame_new(specs, n) : NULL;
    for (int i = 0; model && i < n; i++)
        memcpy(frame_find(model, specs[i].name)->data, frame_find(state, specs[i].name)->data,
               frame_find(model, specs[i].name)->bytes);
    free(specs);
    if (!model)
        return fail_null("out of memory");
    /* These are the keys that an optimizer writes into its model, the last five of which say what
     * the network is (program/description.h). The run's settings are only in the state. */
    static const char *const metas[] = {"optimizer", "step",      "steps",      "encoder",
                                        "projector", "predictor", "classifier", "class_names"};
    frame_set_meta(model, "kind", "model");
    for (size_t i = 0; i < sizeof metas / sizeof *metas; i++) {
        const char *value = frame_meta(state, metas[i]);
        if (value)
            frame_set_meta(model, metas[i], value);
    }
    return model;
}

int run_state_export(const char *folder)
{
    char *from = path_of(folder, "state.safetensors"), *to = path_of(folder, "model.safetensors");
    struct frame *state = from && to ? frame_load(from) : NULL;
    struct frame *model = state ? model_of(state) : NULL;
    const int bad = model ? frame_save(model, to) : -1;
    frame_free(model);
    frame_free(state);
    free(from);
    free(to);
    return bad;
}
