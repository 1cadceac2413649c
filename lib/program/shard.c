#include "program/shard.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "link/endpoint.h"
#include "link/link.h"
#include "program/gradient_squares.h"
#include "program/link_options.h"

struct shard {
    struct link *links[LINKS_AT_ONCE];
    int n;
};

/* The way in which one request is divided among the optimizers. */
struct split {
    int *owners;                /* owners of the request's tensors */
    int asked[LINKS_AT_ONCE];   /* optimizers that get a part of it, ascending */
    int tensors[LINKS_AT_ONCE]; /* tensors in the part of asked[i] */
    int n;
    bool ranks; /* several ranks use these links: all get a part, all answers go back */
};

int shard_owner(const char *name, int k)
{
    const char *slash = strrchr(name, '/'), *own = slash ? slash + 1 : name;
    return (int)(crc32_z(0, (const unsigned char *)own, strlen(own)) % (unsigned)k);
}

/* ---- the list of links ---- */

int shard_count(const char *list)
{
    int n = 0;
    size_t length;
    for (const char *rest = list, *at; (at = endpoint_take(&rest, &length));) {
        const enum endpoint_kind kind = endpoint_kind(at);
        if ((kind != ENDPOINT_EXEC && kind != ENDPOINT_SOCKET) || at[length - 1] == ',')
            return fail("'%.*s' is no link: exec:CMD, tcp://host:port, ipc://path or shm://name",
                        (int)length, at);
        if (++n > LINKS_AT_ONCE)
            return fail("more than %d links", LINKS_AT_ONCE);
    }
    return n;
}

struct shard *shard_open(const char *list)
{
    struct shard *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory(NULL);
        return NULL;
    }
    size_t length;
    for (const char *rest = list, *at; (at = endpoint_take(&rest, &length));) {
        char *link = strndup(at, length);
        if (link && s->n < LINKS_AT_ONCE)
            s->links[s->n] = link_open(link, &link_options);
        else
            fail_memory(NULL);
        free(link);
        if (!s->links[s->n]) {
            shard_abandon(s);
            return NULL;
        }
        s->n++;
    }
    return s;
}

int shard_end(struct shard *s)
{
    bool bad = false;
    for (int i = 0; i < s->n; i++)
        bad = link_end(s->links[i]) || bad;
    for (int i = 0; i < s->n; i++)
        bad = link_close(s->links[i]) || bad;
    free(s);
    return bad ? -1 : 0;
}

void shard_abandon(struct shard *s)
{
    if (!s)
        return;
    struct fail_note note;
    fail_save(&note);
    for (int i = 0; i < s->n; i++)
        link_close(s->links[i]);
    free(s);
    fail_restore(&note);
}

/* ---- a request's parts ---- */

/* Finds the optimizers that get a part: the owners of the request's tensors, or all if it has no
 * tensors. With several ranks each link leads to a reduce, which waits for a frame of every rank,
 * and not all ranks have the same tensors. All optimizers get a part then, too. */
static int plan(const struct shard *s, const struct frame *request, struct split *split)
{
    int counts[LINKS_AT_ONCE] = {0};
    int64_t world;
    if (frame_meta_int(request, "world", 1, &world))
        return -1;
    *split = (struct split){.owners = calloc((size_t)request->n_tensors + 1, sizeof(int))};
    if (!split->owners)
        return fail_memory(NULL);
    split->ranks = world > 1;
    for (int i = 0; i < request->n_tensors; i++)
        counts[split->owners[i] = shard_owner(request->tensors[i].name, s->n)]++;
    for (int k = 0; k < s->n; k++)
        if (counts[k] || !request->n_tensors || split->ranks) {
            split->tensors[split->n] = counts[k];
            split->asked[split->n++] = k;
        }
    return 0;
}

static struct frame *make_part(const struct frame *request, const struct split *split, int owner)
{
    struct tensor_spec *specs = calloc((size_t)request->n_tensors + 1, sizeof *specs);
    if (!specs) {
        fail_memory(NULL);
        return NULL;
    }
    int n = 0;
    for (int i = 0; i < request->n_tensors; i++)
        if (split->owners[i] == owner)
            specs[n++] = tensor_spec_of(&request->tensors[i]);
    struct frame *part = frame_new(specs, n);
    free(specs);
    for (int i = 0; part && i < request->n_tensors; i++)
        if (split->owners[i] == owner)
            memcpy(frame_find(part, request->tensors[i].name)->data, request->tensors[i].data,
                   request->tensors[i].bytes);
    if (part)
        frame_inherit_metas(part, request);
    return part;
}

/* Sends all parts, and only then waits for the replies. */
static int exchange(const struct shard *s, const struct frame *request, const struct split *split,
                    struct frame **replies)
{
    struct link *links[LINKS_AT_ONCE];
    for (int i = 0; i < split->n; i++) {
        struct frame *part = make_part(request, split, split->asked[i]);
        links[i] = s->links[split->asked[i]];
        if (!part || link_send(links[i], part))
            return -1;
    }
    return link_receive_all(links, split->n, replies);
}

/* ---- their replies ---- */

/* Checks that all optimizers are at the same step. Two kinds are ignored: an optimizer that owns
 * nothing yet has begun no step, and one that owns only frozen tensors reports no step. */
static int check_steps(const struct shard *s, const struct split *split,
                       struct frame *const *replies)
{
    int first = -1;
    int64_t step = 0;
    for (int i = 0; i < split->n; i++) {
        const char *name = link_name(s->links[split->asked[i]]);
        int64_t at;
        if (frame_meta_int(replies[i], "step", 0, &at))
            return fail_prefix("%s", name);
        if (!replies[i]->n_tensors || !frame_meta(replies[i], "step"))
            continue;
        if (first >= 0 && at != step)
            return fail("%s is at step %lld, %s at step %lld: the states belong to different steps",
                        link_name(s->links[split->asked[first]]), (long long)step, name,
                        (long long)at);
        first = first < 0 ? i : first;
        step = at;
    }
    return 0;
}

/* Puts the answer of owner number i in the place of the part that it was sent. */
static int put(struct frame *request, const struct split *split, int i, const struct frame *reply,
               const char *name)
{
    for (int k = 0; k < request->n_tensors; k++) {
        struct tensor *to = &request->tensors[k];
        if (split->owners[k] != split->asked[i])
            continue;
        const struct tensor *t = frame_need(reply, to->name, to->dtype, to->ndim, to->shape);
        if (!t)
            return fail_prefix("%s: its answer", name);
        memcpy(to->data, t->data, t->bytes);
    }
    for (int k = 0; reply->n_tensors > split->tensors[i] && k < reply->n_tensors; k++) {
        const struct tensor *asked = frame_find(request, reply->tensors[k].name);
        if (!asked || split->owners[asked - request->tensors] != split->asked[i])
            return fail("%s: answered with %s, which it was not sent", name,
                        reply->tensors[k].name);
    }
    return 0;
}

/* Checks that the reply holds every requested tensor. */
static int check_answer(const struct frame *request, const struct frame *all)
{
    for (int k = 0; k < request->n_tensors; k++) {
        const struct tensor *t = &request->tensors[k];
        if (!frame_need(all, t->name, t->dtype, t->ndim, t->shape))
            return fail_prefix("the answer");
    }
    return 0;
}

/* Makes the answer from all tensors that came back, for a rank that sent none, or fewer than other
 * ranks did. */
static struct frame *join_all(const struct shard *s, const struct split *split,
                              struct frame *const *replies)
{
    int n = 0;
    for (int i = 0; i < split->n; i++)
        n += replies[i]->n_tensors;
    struct tensor_spec *specs = calloc((size_t)n + 1, sizeof *specs);
    if (!specs) {
        fail_memory(NULL);
        return NULL;
    }
    n = 0;
    for (int i = 0; i < split->n; i++)
        for (int k = 0; k < replies[i]->n_tensors; k++) {
            const struct tensor *t = &replies[i]->tensors[k];
            specs[n++] = tensor_spec_of(t);
            if (shard_owner(t->name, s->n) == split->asked[i])
                continue;
            fail("%s: has %s, which is another's of %d", link_name(s->links[split->asked[i]]),
                 t->name, s->n);
            free(specs);
            return NULL;
        }
    struct frame *all = frame_new(specs, n);
    free(specs);
    for (int i = 0; all && i < split->n; i++)
        for (int k = 0; k < replies[i]->n_tensors; k++) {
            const struct tensor *t = &replies[i]->tensors[k];
            memcpy(frame_find(all, t->name)->data, t->data, t->bytes);
        }
    return all;
}

/* Gives f the metadata of reply number `first`, and what each optimizer says of its gradients, in
 * the order in which one optimizer would: the sums of squares come before `lr`. */
static void replace_metas(struct frame *f, struct frame *const *replies, int n, int first)
{
    bool merged = false;
    while (f->n_metas)
        frame_drop_meta(f, f->metas[f->n_metas - 1].key);
    for (int i = 0; i < replies[first]->n_metas; i++) {
        const struct meta *m = &replies[first]->metas[i];
        const bool squares = gradient_squares_is_key(m->key);
        if (!merged && (squares || !strcmp(m->key, "lr"))) {
            gradient_squares_merge(f, replies, n);
            merged = true;
        }
        if (!squares)
            frame_set_meta(f, m->key, m->value);
    }
}

/* Makes the reply from the optimizers' replies, either in *request or in a frame that replaces it.
 */
static int merge(const struct shard *s, const struct split *split, struct frame *const *replies,
                 struct frame **request)
{
    const char *kind = frame_meta(*request, "kind");
    if (kind && !strcmp(kind, "join") && check_steps(s, split, replies))
        return -1;
    int first = 0;
    for (int i = split->n - 1; i >= 0; i--)
        if (frame_meta(replies[i], "step"))
            first = i;
    if ((*request)->n_tensors && !split->ranks && !frame_meta(*request, "ema")) {
        for (int i = 0; i < split->n; i++)
            if (put(*request, split, i, replies[i], link_name(s->links[split->asked[i]])))
                return -1;
    } else {
        struct frame *all = join_all(s, split, replies);
        if (!all || check_answer(*request, all)) {
            frame_free(all);
            return -1;
        }
        frame_free(*request);
        *request = all;
        for (int i = split->n - 1; i >= 0; i--)
            if (replies[i]->n_tensors && frame_meta(replies[i], "step"))
                first = i;
    }
    replace_metas(*request, replies, split->n, first);
    return 0;
}

int shard_ask(struct shard *s, struct frame *request, struct frame **reply)
{
    const char *kind = frame_meta(request, "kind");
    *reply = request;
    struct split split = {0};
    struct frame *replies[LINKS_AT_ONCE];
    int bad = plan(s, request, &split);
    if (!bad && !request->n_tensors && !split.ranks && (!kind || strcmp(kind, "join"))) {
        free(split.owners);
        return 0;
    }
    bad = bad || exchange(s, request, &split, replies);
    if (!bad) {
        bad = merge(s, &split, replies, &request);
        for (int i = 0; i < split.n; i++)
            frame_free(replies[i]);
    }
    free(split.owners);
    if (bad)
        frame_free(request);
    *reply = bad ? NULL : request;
    return bad ? -1 : 0;
}
