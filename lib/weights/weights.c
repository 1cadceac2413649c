#include "weights/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "frame/frame_io.h"
#include "network/encoder.h"
#include "network/projector.h"
#include "weights/derive.h"

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

struct frame *weights_load(const char *path)
{
    struct frame *f = frame_load(path);
    if (f)
        describe(f);
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
