#include "data/part.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/fail.h"

enum part part_named(const char *name, size_t n)
{
    static const struct {
        const char *name;
        enum part part;
    } parts[] = {
        {"train", PART_TRAIN},         {"training", PART_TRAIN},   {"test", PART_TEST},
        {"val", PART_VALIDATION},      {"valid", PART_VALIDATION}, {"validation", PART_VALIDATION},
        {"unlabeled", PART_UNLABELED},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strlen(parts[i].name) == n && strncasecmp(parts[i].name, name, n) == 0)
            return parts[i].part;
    return PART_NONE;
}

enum part part_of_file(const char *name)
{
    enum part found = PART_NONE;
    for (const char *at = name; *at;) {
        size_t n = 0;
        while (isalnum((unsigned char)at[n]))
            n++;
        const enum part part = part_named(at, n);
        if (part != PART_NONE && found != PART_NONE && part != found)
            return PART_NONE;
        found = part != PART_NONE ? part : found;
        at += n + (at[n] != '\0');
    }
    if (found != PART_NONE)
        return found;
    const bool train = strcasestr(name, "train"), test = strcasestr(name, "test");
    return train && !test ? PART_TRAIN : test && !train ? PART_TEST : PART_NONE;
}

int part_missing(const char *name, const char *split)
{
    if (strcmp(split, "train") == 0)
        return fail("%s has no train part (train, training)", name);
    if (strcmp(split, "test") == 0)
        return fail("%s has no test part (train, test, val); --hold 0.1 keeps a tenth of it back",
                    name);
    return fail("%s has no %s part", name, split);
}

int part_refuse_hold(const char *name)
{
    return fail("%s has a test part, and --hold is for data without one", name);
}
