#include "link/endpoint.h"

#include <ctype.h>
#include <string.h>

#include "base/fail.h"

static bool starts(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

enum endpoint_kind endpoint_kind(const char *endpoint)
{
    if (!strcmp(endpoint, "-"))
        return ENDPOINT_STANDARD;
    if (starts(endpoint, "exec:"))
        return ENDPOINT_EXEC;
    if (starts(endpoint, "tcp://") || starts(endpoint, "ipc://") || endpoint_name(endpoint))
        return ENDPOINT_SOCKET;
    return ENDPOINT_PATH;
}

const char *endpoint_name(const char *endpoint)
{
    return starts(endpoint, "shm://") ? endpoint + strlen("shm://") : NULL;
}

static const char *skip_blanks(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

static bool follows_comma(const char *at)
{
    const enum endpoint_kind kind = endpoint_kind(at);
    return kind == ENDPOINT_EXEC || kind == ENDPOINT_SOCKET;
}

const char *endpoint_take(const char **list, size_t *length)
{
    if (!*list)
        return NULL;
    const char *at = skip_blanks(*list), *end = at + strcspn(at, ",");
    while (*end && !follows_comma(skip_blanks(end + 1)))
        end += 1 + strcspn(end + 1, ",");
    *list = *end ? end + 1 : NULL;
    while (end > at && isspace((unsigned char)end[-1]))
        end--;
    *length = (size_t)(end - at);
    return at;
}

/* Returns true for the addresses 127.x.y.z, but not for a host name that begins like one. */
static bool is_loopback_number(const char *host)
{
    return starts(host, "127.") && host[strspn(host, "0123456789.")] == ':';
}

int endpoint_allowed(const char *endpoint, const struct link_config *config)
{
    bool loopback = !starts(endpoint, "tcp://") ||
                    is_loopback_number(endpoint + strlen("tcp://")) ||
                    starts(endpoint, "tcp://localhost:") || starts(endpoint, "tcp://[::1]:");
    if (loopback || config->insecure || *config->curve_key || *config->curve_server_key)
        return 0;
    return fail("%s is not on this machine: give keys (--curve-key, --curve-server-key) or "
                "--insecure",
                endpoint);
}
