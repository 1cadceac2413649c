#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/pickle_parts.h"

void pickle_free(struct pickle *p)
{
    if (p)
        pickle_free_memory(p);
    free(p);
}

const struct pickle_value *pickle_root(const struct pickle *p)
{
    return p->root;
}

size_t pickle_persistents(const struct pickle *p, struct pickle_value *const **list)
{
    *list = p->persistents.items;
    return p->persistents.n;
}

size_t pickle_end(const struct pickle *p)
{
    return p->at;
}

static bool equal(const uint8_t *bytes, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(bytes, text, n) == 0;
}

bool pickle_is_global(const struct pickle_value *v, const char *module, const char *name)
{
    return v && v->kind == PICKLE_GLOBAL && equal(v->global.module, v->global.module_n, module) &&
           equal(v->global.name, v->global.name_n, name);
}

bool pickle_is_call(const struct pickle_value *v, const char *module, const char *name)
{
    return v && v->kind == PICKLE_CALL && pickle_is_global(v->call.function, module, name);
}

bool pickle_is_text(const struct pickle_value *v, const char *text)
{
    return v && (v->kind == PICKLE_TEXT || v->kind == PICKLE_BYTES) &&
           equal(v->bytes.start, v->bytes.n, text);
}

const struct pickle_value *pickle_argument(const struct pickle_value *called, uint32_t i)
{
    const struct pickle_value *arguments = called->call.arguments;
    return i < arguments->list.n ? arguments->list.items[i] : NULL;
}

/* Returns true if the value is that text, also as a bytes of ASCII that Python 3 wrote in protocols
 * 0 to 2, where it is a text that _codecs.encode() would turn into bytes. */
static bool is_key(const struct pickle_value *v, const char *key)
{
    const bool encoded = pickle_is_call(v, "_codecs", "encode");
    return pickle_is_text(encoded ? pickle_argument(v, 0) : v, key);
}

const struct pickle_value *pickle_find(const struct pickle_value *dict, const char *key)
{
    for (uint32_t i = dict->list.n; i >= 2; i -= 2)
        if (is_key(dict->list.items[i - 2], key))
            return dict->list.items[i - 1];
    return NULL;
}

void pickle_global_text(const struct pickle_value *v, char text[PICKLE_GLOBAL_TEXT])
{
    if (v->kind == PICKLE_GLOBAL)
        snprintf(text, PICKLE_GLOBAL_TEXT, "%.*s.%.*s", v->global.module_n,
                 (const char *)v->global.module, v->global.name_n, (const char *)v->global.name);
    else
        snprintf(text, PICKLE_GLOBAL_TEXT, "an unnamed function");
}

void pickle_set_global(struct pickle_value *v, const char *module, const char *name)
{
    v->kind = PICKLE_GLOBAL;
    v->global.module = (const uint8_t *)module;
    v->global.name = (const uint8_t *)name;
    v->global.module_n = (uint16_t)strlen(module);
    v->global.name_n = (uint16_t)strlen(name);
}

int pickle_check_global(struct pickle *p, const struct pickle_value *v)
{
    const size_t module_n = v->global.module_n, name_n = v->global.name_n;
    bool allowed = !p->globals;
    for (int i = 0; !allowed && p->globals[i]; i++) {
        const char *text = p->globals[i];
        allowed = strlen(text) == module_n + 1 + name_n && text[module_n] == '.' &&
                  memcmp(text, v->global.module, module_n) == 0 &&
                  memcmp(text + module_n + 1, v->global.name, name_n) == 0;
    }
    if (allowed)
        return 0;
    char text[PICKLE_GLOBAL_TEXT];
    pickle_global_text(v, text);
    return pickle_fail(p, "the global %s, which such a file does not need, so it is refused", text);
}
