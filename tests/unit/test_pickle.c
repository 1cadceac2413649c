/* Tests the reader of pickles: the values of each opcode, as Python's pickle.loads() gives them for
 * the same bytes, and pickles that are damaged or hostile. */
#include "python/pickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "python/pickle_array.h"

#include <cmocka.h>

#define BYTES(TEXT) (const uint8_t *)(TEXT), sizeof(TEXT) - 1

static struct pickle *read_good(const uint8_t *bytes, size_t n)
{
    struct pickle *p = pickle_read(bytes, n, 0, "it", NULL, NULL);
    if (!p)
        fail_msg("%s", fail_message());
    assert_int_equal(pickle_end(p), n);
    return p;
}

static const struct pickle_value *item(const struct pickle_value *v, uint32_t i)
{
    assert_true(v->kind >= PICKLE_TUPLE && v->kind <= PICKLE_DICT && i < v->list.n);
    return v->list.items[i];
}

static void assert_bytes(const struct pickle_value *v, enum pickle_kind kind, const char *bytes,
                         size_t n)
{
    assert_int_equal(v->kind, kind);
    assert_int_equal(v->bytes.n, n);
    assert_memory_equal(v->bytes.start, bytes, n);
}

/* The bytes of one value, without a protocol and STOP, and what it must be. */
static void assert_integer(const uint8_t *bytes, size_t n, int64_t value)
{
    uint8_t whole[64] = {0x80, 2};
    memcpy(whole + 2, bytes, n);
    whole[n + 2] = '.';
    struct pickle *p = read_good(whole, n + 3);
    assert_int_equal(pickle_root(p)->kind, PICKLE_INTEGER);
    assert_true(pickle_root(p)->integer == value);
    pickle_free(p);
}

static void numbers(void **state)
{
    (void)state;
    assert_integer(BYTES("K\377"), 255);
    assert_integer(BYTES("M\1\2"), 513);
    assert_integer(BYTES("J\376\377\377\377"), -2);
    assert_integer(BYTES("I-12\n"), -12);
    assert_integer(BYTES("I7\n"), 7);
    assert_integer(BYTES("L-5L\n"), -5);
    assert_integer(BYTES("L5\n"), 5);
    assert_integer(BYTES("\x8a\0"), 0);
    assert_integer(BYTES("\x8a\1\377"), -1);
    assert_integer(BYTES("\x8a\2\377\0"), 255);
    assert_integer(BYTES("\x8a\x8\0\0\0\0\0\0\0\x80"), INT64_MIN);
    assert_integer(BYTES("\x8b\1\0\0\0\x80"), -128);
    struct pickle *p = read_good(BYTES("\x80\2(NI00\nI01\n\x88\x89G\xc0\4\0\0\0\0\0\0F1.5e3\n"
                                       "\x8a\x9\0\0\0\0\0\0\0\0\1L99999999999999999999L\nt."));
    const struct pickle_value *v = pickle_root(p);
    assert_int_equal(item(v, 0)->kind, PICKLE_NONE);
    for (uint32_t i = 1; i < 5; i++) {
        assert_int_equal(item(v, i)->kind, PICKLE_BOOL);
        assert_int_equal(item(v, i)->integer, i == 2 || i == 3);
    }
    assert_true(item(v, 5)->kind == PICKLE_REAL && item(v, 5)->real == -2.5);
    assert_true(item(v, 6)->kind == PICKLE_REAL && item(v, 6)->real == 1500);
    assert_bytes(item(v, 7), PICKLE_BIG, "\0\0\0\0\0\0\0\0\1", 9);
    assert_int_equal(item(v, 8)->kind, PICKLE_BIG);
    pickle_free(p);
}

static void strings(void **state)
{
    (void)state;
    struct pickle *p =
        read_good(BYTES("(S'a\\x00\\n\\'\\\\\"'\nS\"it's\"\nVe\\u0301\\U0001f600\\n\xe9\nU\2\0\1"
                        "T\2\0\0\0ab"
                        "B\1\0\0\0x"
                        "C\1y\x8e\1\0\0\0\0\0\0\0z\x96\1\0\0\0\0\0\0\0w"
                        "X\2\0\0\0\xc3\xa9\x8c\1u\x8d\1\0\0\0\0\0\0\0vt."));
    const struct pickle_value *v = pickle_root(p);
    assert_bytes(item(v, 0), PICKLE_BYTES, "a\0\n'\\\"", 6);
    assert_bytes(item(v, 1), PICKLE_BYTES, "it's", 4);
    assert_bytes(item(v, 2), PICKLE_TEXT, "e\xcc\x81\xf0\x9f\x98\x80\\n\xc3\xa9", 11);
    assert_bytes(item(v, 3), PICKLE_BYTES, "\0\1", 2);
    assert_bytes(item(v, 4), PICKLE_BYTES, "ab", 2);
    for (uint32_t i = 5; i < 9; i++)
        assert_bytes(item(v, i), PICKLE_BYTES, &"xyzw"[i - 5], 1);
    assert_bytes(item(v, 9), PICKLE_TEXT, "\xc3\xa9", 2);
    assert_bytes(item(v, 10), PICKLE_TEXT, "u", 1);
    assert_bytes(item(v, 11), PICKLE_TEXT, "v", 1);
    pickle_free(p);
}

/* {"a": [1, 2, 3], "t": (), "u": (1,), "v": (1, 2), "w": (1, 2, 3), "s": {4}, "f": frozenset({5}),
 * "a2": the same list} with further opcodes. */
static void containers(void **state)
{
    (void)state;
    struct pickle *p = read_good(
        BYTES("\x80\4\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\1a]\x94(K\1K\2eK\3a\x8c\1t)\x8c\1uK\1\x85"
              "\x8c\1vK\1K\2\x86\x8c\1wK\1K\2K\3\x87\x8c\1s\x8f(K\4\x90\x8c\1f(K\5\x91u\x8c\2"
              "a2h\1s\x8c\1pN0(NN1K\6s\x8c\1dN20s."));
    const struct pickle_value *v = pickle_root(p), *list = pickle_find(v, "a");
    assert_int_equal(v->kind, PICKLE_DICT);
    assert_int_equal(list->kind, PICKLE_LIST);
    assert_int_equal(list->list.n, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(item(list, i)->integer, i + 1);
    assert_ptr_equal(pickle_find(v, "a2"), list);
    static const char *const names[] = {"t", "u", "v", "w"};
    for (uint32_t n = 0; n < 4; n++) {
        const struct pickle_value *tuple = pickle_find(v, names[n]);
        assert_int_equal(tuple->kind, PICKLE_TUPLE);
        assert_int_equal(tuple->list.n, n);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(item(tuple, i)->integer, i + 1);
    }
    assert_int_equal(item(pickle_find(v, "s"), 0)->integer, 4);
    assert_int_equal(item(pickle_find(v, "f"), 0)->integer, 5);
    assert_int_equal(pickle_find(v, "p")->integer, 6);
    assert_int_equal(pickle_find(v, "d")->kind, PICKLE_NONE);
    assert_null(pickle_find(v, "b"));
    pickle_free(p);
}

static void calls_are_only_written_down(void **state)
{
    (void)state;
    static const uint8_t bytes[] =
        "\x80\4(cos\nsystem\n(S'false'\ntR\x8c\1m\x8c\1n\x93)\x81}\x8c\1kK\1sb"
        "ccollections\nOrderedDict\n)R\x8c\1kK\2scm\nC\nN\x85}\x92K\7Qt.";
    struct pickle *p = read_good(bytes, sizeof bytes - 1);
    const struct pickle_value *v = pickle_root(p), *call = item(v, 0), *built = item(v, 1);
    assert_true(pickle_is_call(call, "os", "system"));
    assert_false(pickle_is_call(call, "os", "systems"));
    assert_false(pickle_is_call(call, "o", "system"));
    assert_true(pickle_is_text(pickle_argument(call, 0), "false"));
    assert_null(pickle_argument(call, 1));
    char text[PICKLE_GLOBAL_TEXT];
    pickle_global_text(call->call.function, text);
    assert_string_equal(text, "os.system");
    assert_true(pickle_is_call(built, "m", "n"));
    assert_int_equal(pickle_find(built->call.state, "k")->integer, 1);
    assert_int_equal(pickle_find(item(v, 2)->call.contents, "k")->integer, 2);
    assert_true(pickle_is_call(item(v, 3), "copyreg", "__newobj_ex__"));
    assert_int_equal(item(v, 4)->kind, PICKLE_PERSISTENT);
    struct pickle_value *const *list;
    assert_int_equal(pickle_persistents(p, &list), 1);
    assert_int_equal(list[0]->persistent->integer, 7);
    pickle_free(p);
    static const char *const allowed[] = {"m.n", "collections.OrderedDict", "m.C", NULL};
    assert_null(pickle_read(bytes, sizeof bytes - 1, 0, "it", allowed, NULL));
    assert_string_equal(fail_message(), "it: pickle, GLOBAL at byte 3: the global os.system, which "
                                        "such a file does not need, so it is refused");
}

static void assert_refused(const uint8_t *bytes, size_t n, const char *message)
{
    assert_null(pickle_read(bytes, n, 0, "it", NULL, NULL));
    if (!strstr(fail_message(), message))
        fail_msg("\"%s\" does not contain \"%s\"", fail_message(), message);
}

static void other_opcodes_are_refused(void **state)
{
    (void)state;
    assert_refused(BYTES("(S'x'\nios\nsystem\n."), "pickle, INST at byte 6: not an opcode");
    assert_refused(BYTES("(cos\nsystem\nS'x'\no."), "pickle, OBJ at byte 17: not an opcode");
    assert_refused(BYTES("\x80\2\x82\1."), "pickle, EXT1 at byte 2: not an opcode");
    assert_refused(BYTES("\x80\2\x83\1\0."), "pickle, EXT2 at byte 2: not an opcode");
    assert_refused(BYTES("\x80\2\x84\1\0\0\0."), "pickle, EXT4 at byte 2: not an opcode");
    assert_refused(BYTES("Pabc\n."), "pickle, PERSID at byte 0: not an opcode");
    assert_refused(BYTES("\x80\5\x97."), "pickle, NEXT_BUFFER at byte 2: not an opcode");
    assert_refused(BYTES("\x80\5N\x98."), "pickle, READONLY_BUFFER at byte 3: not an opcode");
    assert_refused(BYTES("N\xff."), "pickle, an unknown opcode at byte 1: not an opcode");
    assert_refused(BYTES("\x80\6N."), "PROTO at byte 0: protocol 6");
}

static void damaged_pickles_are_refused(void **state)
{
    (void)state;
    assert_refused(BYTES(""), "the end of the file at byte 0: the pickle ends too soon");
    assert_refused(BYTES("."), "STOP at byte 0: 0 values on the stack");
    assert_refused(BYTES("NN."), "2 values on the stack");
    assert_refused(BYTES("(N."), "1 values on the stack");
    assert_refused(BYTES("0."), "too few values");
    assert_refused(BYTES("N(\x85."), "TUPLE1 at byte 2: too few values");
    assert_refused(BYTES("t."), "no mark");
    assert_refused(BYTES("]Ne."), "no mark");
    assert_refused(BYTES("}(Nu."), "a key without a value");
    assert_refused(BYTES("(Nd."), "a key without a value");
    assert_refused(BYTES("}Na."), "takes no such items");
    assert_refused(BYTES("NNa."), "takes no such items");
    assert_refused(BYTES("h\1."), "nothing in the memo at 1");
    assert_refused(BYTES("g-1\n."), "not the number of a memo");
    assert_refused(BYTES("q\1."), "too few values");
    assert_refused(BYTES("Nr\377\377\377\377."), "memo number 4294967295 after 0 others");
    assert_refused(BYTES("NNR."), "arguments that are no tuple");
    assert_refused(BYTES("N)R."), "a call of a value that is no function");
    assert_refused(BYTES("NNb."), "a state of a value that takes none");
    assert_refused(BYTES("cm\nn\n)RNbNb."), "a state of a value that takes none");
    assert_refused(BYTES("K\1K\2\x93."), "a name that is no text");
    assert_refused(BYTES("I1x\n."), "not an integer");
    assert_refused(BYTES("I\n."), "not an integer");
    assert_refused(BYTES("F1x\n."), "not a number");
    assert_refused(BYTES("Sabc\n."), "a string without quotes");
    assert_refused(BYTES("S'\\q'\n."), "an unknown escape");
    assert_refused(BYTES("S'\\'\n."), "an unknown escape");
    assert_refused(BYTES("V\\u00g0\n."), "an unknown escape");
    assert_refused(BYTES("\x80\4\x95\377\377\377\377\377\377\377\377N."),
                   "FRAME at byte 2: the pickle ends");
    assert_refused(BYTES("B\377\377\377\377N."), "the pickle ends too soon");
    assert_refused(BYTES("\x8e\377\377\377\377\377\377\377\377N."), "the pickle ends too soon");
    assert_refused(BYTES("\x8b\377\377\377\377N."), "the pickle ends too soon");
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    static const uint8_t bytes[] =
        "\x80\4\x95\x8\0\0\0\0\0\0\0}\x94(\x8c\1a]\x94(K\1M\1\2eX\1\0\0\0b"
        "cm\nn\n)RV\\u00e9\nS'x'\nK\1G\0\0\0\0\0\0\0\0u.";
    struct pickle *p = pickle_read(bytes, sizeof bytes - 1, 0, "it", NULL, NULL);
    assert_non_null(p);
    pickle_free(p);
    for (size_t n = 0; n < sizeof bytes - 1; n++) {
        uint8_t *copy = malloc(n + 1);
        bool cut = false;
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_null(pickle_read(copy, n, 0, "it", NULL, &cut));
        assert_true(cut);
        free(copy);
    }
}

/* A hundred thousand lists in each other, and a list that holds itself. */
static void nesting_takes_no_stack(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    uint8_t *bytes = malloc(2 * DEEP);
    assert_non_null(bytes);
    memset(bytes, ']', DEEP);
    memset(bytes + DEEP, 'a', DEEP - 1);
    bytes[2 * DEEP - 1] = '.';
    struct pickle *p = read_good(bytes, 2 * DEEP);
    int depth = 1;
    for (const struct pickle_value *v = pickle_root(p); v->list.n; v = item(v, 0))
        depth++;
    assert_int_equal(depth, DEEP);
    pickle_free(p);
    free(bytes);
    p = read_good(BYTES("]q\0h\0a."));
    assert_ptr_equal(item(pickle_root(p), 0), pickle_root(p));
    pickle_free(p);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    uint8_t *bytes = malloc(SIZE);
    assert_non_null(bytes);
    memset(bytes, ']', SIZE);
    assert_refused(bytes, SIZE, "values of more than 256 MiB");
    memset(bytes, '(', SIZE);
    assert_refused(bytes, SIZE, "the pickle ends too soon");
    memset(bytes, 'N', SIZE);
    assert_refused(bytes, SIZE, "the pickle ends too soon");
    free(bytes);
}

/* numpy.array([[1, 2], [3, 258]]) of types u1 to i8, by numpy 1 and 2, in memory order C and F. */
static void arrays(void **state)
{
    (void)state;
    static const uint8_t old[] =
        "\x80\2cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R("
        "K\1K\2K\2\x86"
        "cnumpy\ndtype\nU\2i2K\0K\1\x87R(K\3U\1<NNNJ\377\377\377\377J\377\377\377\377K\0tb\x88U\x8"
        "\1\0\3\0\2\0\2\1tb.";
    struct pickle *p = read_good(old, sizeof old - 1);
    struct pickle_array a;
    assert_int_equal(pickle_array_read(pickle_root(p), "it", &a), 0);
    assert_true(a.fortran && a.ndim == 2 && a.count == 4 && a.size == 2 && a.has_sign);
    assert_int_equal(pickle_array_value(&a, 3), 258);
    pickle_array_free(&a);
    pickle_free(p);
    static const uint8_t text[] =
        "\x80\2cnumpy._core.numeric\n_frombuffer\n(c_codecs\nencode\nX\4\0\0\0\xc3\xbf\1\2X\6\0\0\0"
        "latin1\x86Rcnumpy\ndtype\nX\2\0\0\0u1\x89\x88\x87R(K\3X\1\0\0\0|NNNJ\377\377\377\377"
        "J\377\377\377\377K\0tbK\3\x85X\1\0\0\0CtR.";
    p = read_good(text, sizeof text - 1);
    assert_int_equal(pickle_array_read(pickle_root(p), "it", &a), 0);
    assert_true(!a.fortran && a.ndim == 1 && a.count == 3 && a.size == 1 && !a.has_sign);
    assert_int_equal(pickle_array_value(&a, 0), 255);
    pickle_array_free(&a);
    pickle_free(p);
    p = read_good(BYTES("N."));
    assert_int_equal(pickle_array_read(pickle_root(p), "it", &a), -1);
    assert_string_equal(fail_message(), "it: not an array of numpy");
    pickle_array_free(&a);
    pickle_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(containers),
        cmocka_unit_test(calls_are_only_written_down),
        cmocka_unit_test(other_opcodes_are_refused),
        cmocka_unit_test(damaged_pickles_are_refused),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(nesting_takes_no_stack),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
