/* Tests the memory of gradients and parameters of a stage whose optimizer shares memory. The
 * optimizer is this program itself, started with an argument: it answers each gradient g with 2 g. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/server.h"
#include "program/gradient_buckets.h"
#include <cmocka.h>

enum { N = 4, COUNT = 20000, LIMIT = 1 << 26 };

static int serve(void)
{
    const struct link_config config = {.timeout = 60,
                                       .max_frame = LIMIT,
                                       .curve_key = "",
                                       .curve_server_key = "",
                                       .curve_clients = "",
                                       .run = ""};
    struct server *s = server_open(&(struct server_config){"-", "-", "", &config});
    struct frame *f;
    int client;
    if (!s)
        return 1;
    while (server_next(s, &f, &client, NULL) == SERVER_REQUEST) {
        for (int i = 0; i < f->n_tensors; i++)
            for (size_t k = 0; f->tensors[i].dtype == DTYPE_F32 && k < COUNT; k++)
                ((float *)f->tensors[i].data)[k] *= 2;
        if (server_reply(s, client, f))
            return 1;
    }
    return server_end(s) ? 1 : 0;
}

static const char *program;

static struct link *open_link(bool shares)
{
    char endpoint[512];
    snprintf(endpoint, sizeof endpoint, "exec:exec '%s' serve", program);
    const struct link_config config = {.timeout = 60,
                                       .max_frame = LIMIT,
                                       .no_shared_memory = !shares,
                                       .curve_key = "",
                                       .curve_server_key = "",
                                       .curve_clients = "",
                                       .run = ""};
    struct link *l = link_open(endpoint, &config);
    assert_non_null(l);
    struct frame *f =
        frame_new(NULL, 0); /* an answer means that the optimizer has taken the offer */
    assert_int_equal(link_request(l, f, &f), 0);
    frame_free(f);
    return l;
}

static void add_parameters(struct parameters *p)
{
    static const char *const names[N] = {"a", "b", "c", "buffer"};
    for (int i = 0; i < N; i++)
        assert_int_equal(parameters_add(p, names[i], PARAMETER_FLOAT, 1, (const int64_t[]){COUNT},
                                        i == N - 1, START_ZERO),
                         i);
}

/* Sends the parameters `list`, of which a negative number ends a bucket, each with the gradient
 * `base` + its number, and takes the answers. */
static void step(struct gradient_buckets *b, struct link *l, struct parameters *p, const int *list,
                 int n, float base)
{
    int members[N], held = 0, sent = 0;
    assert_int_equal(gradient_buckets_begin(b), 0);
    for (int i = 0; i < n; i++) {
        if (list[i] >= 0) {
            struct parameter *a = &p->list[list[i]];
            float *into = a->buffer ? a->value : a->grad;
            for (int k = 0; k < COUNT; k++)
                into[k] = base + (float)list[i];
            members[held++] = list[i];
            continue;
        }
        struct tensor_spec specs[N];
        for (int k = 0; k < held; k++)
            specs[k] = (struct tensor_spec){p->list[members[k]].name, DTYPE_F32, 1, {COUNT}};
        struct frame *f = gradient_buckets_next(b, members, held, specs, held);
        assert_non_null(f);
        for (int k = 0; k < held; k++) {
            const struct parameter *a = &p->list[members[k]];
            struct tensor *t = frame_find(f, a->name);
            if (a->buffer || t->data != a->grad)
                memcpy(t->data, a->buffer ? a->value : a->grad, t->bytes);
        }
        assert_int_equal(link_send(l, f), 0);
        held = 0;
        sent++;
    }
    while (sent-- > 0) {
        struct frame *reply;
        assert_int_equal(link_receive(l, &reply), 0);
        assert_int_equal(gradient_buckets_take(b, reply), 0);
    }
    for (int i = 0; i < n; i++) {
        const float *value = list[i] < 0 ? NULL : p->list[list[i]].value;
        for (int k = 0; value && k < COUNT; k++)
            assert_true(value[k] == 2 * (base + (float)list[i]));
    }
}

static void train(bool shares)
{
    static const int usual[] = {3, 0, 1, -1, 2, -1}, other[] = {2, -1, 3, 1, 0, -1},
                     fewer[] = {0, 1, -1}, more[] = {0, 1, -1, 2, -1, 3, -1};
    struct parameters p = {0};
    add_parameters(&p);
    struct link *l = open_link(shares);
    struct gradient_buckets *b = gradient_buckets_new(l, &p);
    assert_non_null(b);
    const void *own_value = p.list[0].value, *own_gradient = p.list[0].grad;
    step(b, l, &p, usual, 6, 1);
    assert_true((p.list[0].value != own_value) == shares);
    step(b, l, &p, usual, 6, 2);
    assert_true((p.list[0].grad != own_gradient) == shares);
    step(b, l, &p, usual, 6, 3);
    step(b, l, &p, other, 6, 4); /* what was made ahead is not used */
    step(b, l, &p, other, 6, 5);
    step(b, l, &p, other, 6, 6);
    step(b, l, &p, fewer, 3, 7);
    step(b, l, &p, fewer, 3, 8);
    step(b, l, &p, more, 7, 9);
    step(b, l, &p, more, 7, 10);
    step(b, l, &p, usual, 6, 11);
    assert_int_equal(gradient_buckets_begin(b), 0); /* and then a failure: nothing is sent */
    gradient_buckets_free(b);
    assert_int_equal(link_end(l), 0);
    assert_int_equal(link_close(l), 0);
    for (int i = 0; i < N; i++) /* the parameters have memory of their own, with their values */
        assert_true(((const float *)p.list[i].value)[COUNT - 1] == 2 * (11 + (float)i));
    p.list[0].grad[COUNT - 1] = 1;
    parameters_clear(&p);
}

static void test_values_are_right_in_shared_memory(void **state)
{
    (void)state;
    train(true);
}

static void test_and_without_it(void **state)
{
    (void)state;
    train(false);
}

static void test_a_reply_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    struct parameters p = {0};
    add_parameters(&p);
    struct link *l = open_link(true);
    struct gradient_buckets *b = gradient_buckets_new(l, &p);
    static const int list[] = {0, 1, -1};
    step(b, l, &p, list, 3, 1);
    const float *before = p.list[0].value;
    struct frame *wrong = frame_new(
        (const struct tensor_spec[]){{"a", DTYPE_F32, 1, {COUNT}}, {"b", DTYPE_F32, 1, {3}}}, 2);
    assert_int_equal(gradient_buckets_begin(b), 0);
    assert_int_equal(gradient_buckets_take(b, wrong), -1);
    assert_true(p.list[0].value == before && before[0] == 2);
    gradient_buckets_free(b);
    assert_int_equal(link_end(l), 0);
    assert_int_equal(link_close(l), 0);
    parameters_clear(&p);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return serve();
    program = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_right_in_shared_memory),
        cmocka_unit_test(test_and_without_it),
        cmocka_unit_test(test_a_reply_that_does_not_fit_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
