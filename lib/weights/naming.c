#include "weights/naming.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* ---- a sorted list of names ---- */

struct list {
    const char *const *names;
    int n;
};

static int compare(const void *key, const void *entry)
{
    return strcmp(key, *(const char *const *)entry);
}

/* Returns true if the list has the name that the format and its arguments print. */
__attribute__((format(printf, 2, 3))) static bool has(const struct list *list, const char *format,
                                                      ...)
{
    char name[NAMING_TEXT + 64];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return list->n && length < (int)sizeof name &&
           bsearch(name, list->names, (size_t)list->n, sizeof *list->names, compare);
}

/* If the text begins with the prefix, returns the rest, else NULL. */
static const char *after(const char *text, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* ---- finding the encoder ---- */

/* The name in the first block by which an encoder of each form is found. */
static const char *const anchors[] = {
    [NAMING_OWN] = NULL,
    [NAMING_TORCHVISION] = "layer1.0.conv1.weight",
    [NAMING_SEQUENCE] = NULL, /* its first number varies */
    [NAMING_HUGGING_FACE] = "encoder.stages.0.layers.0.layer.0.convolution.weight",
    [NAMING_SIMCLR_V2] = "net.1.blocks.0.net.0.weight",
};
static const char sequence_anchor[] = ".0.conv1.weight";
enum { FORMS = sizeof anchors / sizeof *anchors };

/* Checks that the other stages and the first convolution are there too. */
static bool is_complete(const struct list *list, const struct naming *c)
{
    const char *p = c->prefix;
    bool whole = true;
    switch (c->form) {
    case NAMING_TORCHVISION:
        for (int stage = 2; stage <= 4 && whole; stage++)
            whole = has(list, "%slayer%d.0.conv1.weight", p, stage);
        return whole && (has(list, "%sconv1.weight", p) || has(list, "%sconv1.0.weight", p));
    case NAMING_SEQUENCE:
        for (int stage = 1; stage <= 3 && whole; stage++)
            whole = has(list, "%s%d.0.conv1.weight", p, c->first_stage + stage);
        return whole && has(list, "%s0.weight", p) &&
               !has(list, "%s%d.0.conv1.weight", p, c->first_stage - 1);
    case NAMING_HUGGING_FACE:
        for (int stage = 1; stage <= 3 && whole; stage++)
            whole = has(list, "%sencoder.stages.%d.layers.0.layer.0.convolution.weight", p, stage);
        return whole && has(list, "%sembedder.embedder.convolution.weight", p);
    case NAMING_SIMCLR_V2:
        for (int stage = 2; stage <= 4 && whole; stage++)
            whole = has(list, "%snet.%d.blocks.0.net.0.weight", p, stage);
        return whole && has(list, "%snet.0.0.weight", p);
    default:
        return false;
    }
}

/* If the name is the anchor of an encoder of this form, sets the encoder's prefix and returns true.
 */
static bool find_anchor(const char *name, enum naming_form form, struct naming *c)
{
    const char *anchor = form == NAMING_SEQUENCE ? sequence_anchor : anchors[form];
    const size_t length = strlen(name), tail = anchor ? strlen(anchor) : 0;
    if (!anchor || length < tail || strcmp(name + length - tail, anchor) != 0)
        return false;
    size_t prefix = length - tail;
    if (form == NAMING_SEQUENCE) {
        if (!prefix || name[prefix - 1] < '2' || name[prefix - 1] > '4')
            return false;
        c->first_stage = name[--prefix] - '0';
    }
    if (prefix >= NAMING_TEXT || (prefix && name[prefix - 1] != '.'))
        return false;
    c->form = form;
    snprintf(c->prefix, sizeof c->prefix, "%.*s", (int)prefix, name);
    return true;
}

/* Returns true if a word of the prefix says that it is a moving average of another encoder. */
static bool is_average(const char *prefix)
{
    static const char *const words[] = {"k", "key", "ema", "momentum", "target"};
    for (const char *at = prefix; *at; at += strspn(at, "._")) {
        const size_t n = strcspn(at, "._");
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (n == strlen(words[i]) && strncmp(at, words[i], n) == 0)
                return true;
        at += n;
    }
    return false;
}

/* Takes the encoder that was found if it is the first of its kind: a moving average, or none.
 * Returns -1 with a message if it is the second. */
static int choose(struct naming *chosen, const struct naming *found)
{
    if (chosen->form == NAMING_OWN) {
        *chosen = *found;
        return 0;
    }
    return fail("holds several encoders, %.100s* and %.100s*: which one is to be read can't be "
                "known; keep one of them",
                chosen->prefix, found->prefix);
}

/* ---- finding the heads ---- */

/* Shortens a prefix by its last word. Returns false if it is "". */
static bool shorten(char prefix[NAMING_TEXT])
{
    size_t n = strlen(prefix);
    if (!n)
        return false;
    for (n--; n && prefix[n - 1] != '.'; n--)
        ;
    prefix[n] = '\0';
    return true;
}

static void find_heads(struct naming *n, const struct list *list)
{
    char at[NAMING_TEXT];
    snprintf(at, sizeof at, "%s", n->prefix);
    do {
        if (!*n->head && has(list, "%sprojector.0.weight", at))
            snprintf(n->head, sizeof n->head, "%.490sprojector.", at);
        if (!*n->predictor && has(list, "%spredictor.0.weight", at))
            snprintf(n->predictor, sizeof n->predictor, "%.490spredictor.", at);
        for (int module = 0; module < 2 && n->form == NAMING_SIMCLR_V2 && !*n->head; module++)
            if (has(list, "%shead.%slayers.0.weight", at, module ? "module." : ""))
                snprintf(n->head, sizeof n->head, "%.480shead.%slayers.", at,
                         module ? "module." : "");
        for (int form = 0; form < 3 && !*n->classifier; form++) {
            static const char *const forms[] = {"fc.", "classifier.", "classifier.1."};
            if (has(list, "%s%sweight", at, forms[form]))
                snprintf(n->classifier, sizeof n->classifier, "%.490s%s", at, forms[form]);
        }
    } while (shorten(at));
    for (int i = 0; n->form == NAMING_SIMCLR_V2 && *n->head && i < 64; i++)
        if (n->n_layers < NAMING_LAYERS && has(list, "%s%d.weight", n->head, i))
            n->layers[n->n_layers++] = i;
}

/* Finds the encoders that are moving averages, or those that are not. */
static int find_encoder(const struct list *list, bool average, struct naming *chosen)
{
    for (int i = 0; i < list->n; i++)
        for (int form = NAMING_TORCHVISION; form < FORMS; form++) {
            struct naming found = {0};
            if (find_anchor(list->names[i], (enum naming_form)form, &found) &&
                is_average(found.prefix) == average && is_complete(list, &found) &&
                choose(chosen, &found))
                return -1;
        }
    return 0;
}

int naming_find(struct naming *naming, const char *const *names, int n)
{
    const struct list list = {names, n};
    struct naming average = {0};
    *naming = (struct naming){.form = NAMING_OWN};
    if (find_encoder(&list, false, naming))
        return -1;
    if (find_encoder(&list, true, &average) && naming->form == NAMING_OWN)
        return -1;
    if (naming->form == NAMING_OWN)
        *naming = average;
    else if (average.form != NAMING_OWN)
        snprintf(naming->passed, sizeof naming->passed, "%s", average.prefix);
    naming->selective = has(&list, "%snet.1.blocks.0.net.2.mixing_conv.0.weight", naming->prefix);
    find_heads(naming, &list);
    return 0;
}

/* ---- translating ---- */

/* Reads a number of at most 3 digits and the '.' after it at *text, and moves *text on. */
static bool read_number(const char **text, int *number)
{
    const size_t n = strspn(*text, "0123456789");
    if (n < 1 || n > 3 || (*text)[n] != '.' || (n > 1 && **text == '0'))
        return false;
    *number = atoi(*text);
    *text += n + 1;
    return true;
}

/* A module of the file, and its name here. */
struct pair {
    const char *theirs, *ours;
};

/* Translates "MODULE.what" by a table that an empty row ends. Returns false if no row fits. */
static bool look_up(const struct pair *pairs, const char *rest, const char *block,
                    char own[NAMING_TEXT])
{
    for (; pairs->theirs; pairs++) {
        const char *what = after(rest, pairs->theirs);
        if (what && *what == '.' && !strchr(what + 1, '.'))
            return snprintf(own, NAMING_TEXT, "%s%s%s", block, pairs->ours, what) < NAMING_TEXT;
    }
    return false;
}

static bool from_torchvision(const char *rest, char own[NAMING_TEXT])
{
    static const char *const parts[] = {"conv1.",  "bn1.",    "layer1.",
                                        "layer2.", "layer3.", "layer4."};
    bool inside = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        inside = inside || after(rest, parts[i]);
    if (!inside)
        return false;
    const char *block = after(rest, "layer"), *shortcut;
    int stage, number;
    if (block && read_number(&block, &stage) && read_number(&block, &number) &&
        (shortcut = after(block, "shortcut.")))
        return snprintf(own, NAMING_TEXT, "layer%d.%d.downsample.%s", stage, number, shortcut) <
               NAMING_TEXT;
    return snprintf(own, NAMING_TEXT, "%s", rest) < NAMING_TEXT;
}

static bool from_sequence(const struct naming *n, const char *rest, char own[NAMING_TEXT])
{
    int at;
    char name[NAMING_TEXT];
    if (!read_number(&rest, &at))
        return false;
    if (at == 0 || at == 1)
        return snprintf(own, NAMING_TEXT, "%s.%s", at ? "bn1" : "conv1", rest) < NAMING_TEXT;
    const int stage = at - n->first_stage + 1;
    return stage >= 1 && stage <= 4 &&
           snprintf(name, sizeof name, "layer%d.%s", stage, rest) < (int)sizeof name &&
           from_torchvision(name, own);
}

static bool from_hugging_face(const char *rest, char own[NAMING_TEXT])
{
    static const struct pair stem[] = {{"embedder.embedder.convolution", "conv1"},
                                       {"embedder.embedder.normalization", "bn1"},
                                       {0}};
    static const struct pair parts[] = {{"shortcut.convolution", "downsample.0"},
                                        {"shortcut.normalization", "downsample.1"},
                                        {"layer.0.convolution", "conv1"},
                                        {"layer.0.normalization", "bn1"},
                                        {"layer.1.convolution", "conv2"},
                                        {"layer.1.normalization", "bn2"},
                                        {"layer.2.convolution", "conv3"},
                                        {"layer.2.normalization", "bn3"},
                                        {0}};
    char name[32];
    int stage, block;
    const char *at = after(rest, "encoder.stages.");
    if (!at)
        return look_up(stem, rest, "", own);
    if (!read_number(&at, &stage) || !(at = after(at, "layers.")) || !read_number(&at, &block))
        return false;
    snprintf(name, sizeof name, "layer%d.%d.", stage + 1, block);
    return look_up(parts, at, name, own) ||
           snprintf(own, NAMING_TEXT, "%s%s", name, at) < NAMING_TEXT;
}

/* ResNets of SimCLRv2-Pytorch; a norm is in a Sequential of its own. */
static bool from_simclr_v2(const struct naming *n, const char *rest, char own[NAMING_TEXT])
{
    static const struct pair stem[] = {{"0", "conv1"}, {"1.0", "bn1"}, {0}};
    static const struct pair deep[] = {{"0", "conv1.0"},
                                       {"1.0", "conv1.1"},
                                       {"2", "conv1.3"},
                                       {"3.0", "conv1.4"},
                                       {"4", "conv1.6"},
                                       {"5.0", "bn1"},
                                       {0}};
    static const struct pair parts[] = {{"projection.shortcut", "downsample.0"},
                                        {"projection.bn.0", "downsample.1"},
                                        {"net.0", "conv1"},
                                        {"net.1.0", "bn1"},
                                        {"net.2", "conv2"},
                                        {"net.3.0", "bn2"},
                                        {"net.4", "conv3"},
                                        {"net.5.0", "bn3"},
                                        {0}};
    static const struct pair selective[] = {{"projection.shortcut.2", "downsample.0"},
                                            {"projection.bn.0", "downsample.1"},
                                            {"net.0", "conv1"},
                                            {"net.1.0", "bn1"},
                                            {"net.2.main_conv.0", "conv2"},
                                            {"net.2.main_conv.1.0", "bn2"},
                                            {"net.2.mixing_conv.0", "sk.0"},
                                            {"net.2.mixing_conv.1.0", "sk.1"},
                                            {"net.2.mixing_conv.2", "sk.3"},
                                            {"net.3", "conv3"},
                                            {"net.4.0", "bn3"},
                                            {0}};
    char name[32];
    int stage, block;
    const char *at = after(rest, "net.");
    if (!at || !read_number(&at, &stage))
        return false;
    if (stage == 0)
        return look_up(n->selective ? deep : stem, at, "", own) ||
               snprintf(own, NAMING_TEXT, "conv1.%s", at) < NAMING_TEXT;
    if (!(at = after(at, "blocks.")) || !read_number(&at, &block))
        return false;
    snprintf(name, sizeof name, "layer%d.%d.", stage, block);
    return look_up(n->selective ? selective : parts, at, name, own) ||
           snprintf(own, NAMING_TEXT, "%s%s", name, at) < NAMING_TEXT;
}

/* Translates a part of the head: in SimCLRv2 they are numbered in another way, with a linear layer
 * and a norm in turn. */
static bool from_head(const struct naming *n, const char *rest, char own[NAMING_TEXT])
{
    int at;
    const char *what = rest;
    if (n->form != NAMING_SIMCLR_V2 || !n->n_layers)
        return snprintf(own, NAMING_TEXT, "projector.%s", rest) < NAMING_TEXT;
    if (!read_number(&what, &at))
        return false;
    for (int i = 0; i < n->n_layers; i++)
        if (n->layers[i] == at)
            return snprintf(own, NAMING_TEXT, "projector.%d.%s", 3 * (i / 2) + i % 2, what) <
                   NAMING_TEXT;
    return false;
}

bool naming_translate(const struct naming *n, const char *name, char own[NAMING_TEXT])
{
    const char *rest;
    if (*n->head && (rest = after(name, n->head)))
        return from_head(n, rest, own);
    if (*n->predictor && (rest = after(name, n->predictor)))
        return snprintf(own, NAMING_TEXT, "predictor.%s", rest) < NAMING_TEXT;
    if (*n->classifier && (rest = after(name, n->classifier)))
        return snprintf(own, NAMING_TEXT, "fc.%s", rest) < NAMING_TEXT;
    if (!(rest = after(name, n->prefix)))
        return false;
    switch (n->form) {
    case NAMING_SEQUENCE:
        return from_sequence(n, rest, own);
    case NAMING_HUGGING_FACE:
        return from_hugging_face(rest, own);
    case NAMING_SIMCLR_V2:
        return from_simclr_v2(n, rest, own);
    default:
        return from_torchvision(rest, own);
    }
}

void naming_part(const struct naming *n, const char *name, char part[NAMING_TEXT])
{
    char common[NAMING_TEXT];
    snprintf(common, sizeof common, "%s", n->prefix);
    while (!after(name, common) && shorten(common))
        ;
    const bool inside = strcmp(common, n->prefix) == 0;
    const char *rest = name + strlen(common);
    snprintf(part, NAMING_TEXT, "%.250s%.*s", inside ? "" : common,
             (int)(strcspn(rest, ".") < 250 ? strcspn(rest, ".") : 250), rest);
}
