#include "program/parameter_name.h"

#include <stddef.h>
#include <string.h>

bool parameter_name_is_buffer(const char *name)
{
    static const char *const endings[] = {".running_mean", ".running_var", ".num_batches_tracked"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < 3; i++)
        if (length > strlen(endings[i]) && !strcmp(name + length - strlen(endings[i]), endings[i]))
            return true;
    return parameter_name_is_loss(name);
}

bool parameter_name_is_loss(const char *name)
{
    return !strncmp(name, "loss.", 5);
}

bool parameter_name_is_owed(const char *name)
{
    return parameter_name_is_loss(name) || !parameter_name_is_buffer(name);
}

bool parameter_name_is_frozen(const char *list, const char *name)
{
    while (list && *list) {
        const size_t length = strcspn(list, ",");
        if (length && !strncmp(list, name, length) && (!name[length] || name[length] == '.'))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}
