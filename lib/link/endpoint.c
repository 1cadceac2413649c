#include "link/endpoint.h"

#include <ctype.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"

struct link_config link_config = {.timeout = 60,
                                  .max_frame = (int64_t)FRAME_DEFAULT_LIMIT,
                                  .curve_key = "",
                                  .curve_server_key = "",
                                  .curve_clients = "",
                                  .run = ""};

const struct option_spec link_option_specs[] = {
    {.kind = OPTION_HEADING, .help = "links"},
    {.name = "timeout",
     .kind = OPTION_DOUBLE,
     .value = &link_config.timeout,
     .argument = "SECONDS",
     .min = 0.01,
     .max = 1e6,
     .help = "give up on a peer that does not connect or answer"},
    {.name = "max-frame",
     .kind = OPTION_INT,
     .value = &link_config.max_frame,
     .argument = "BYTES",
     .min = 64,
     .max = 1e15,
     .help = "refuse frames larger than this"},
    {.name = "crc",
     .kind = OPTION_SWITCH,
     .value = &link_config.crc,
     .help = "write a CRC-32 of the data with each frame"},
    {.name = "insecure",
     .kind = OPTION_SWITCH,
     .value = &link_config.insecure,
     .help = "allow tcp:// beyond this machine without keys"},
    {.name = "curve-key",
     .kind = OPTION_STRING,
     .value = &link_config.curve_key,
     .argument = "FILE",
     .help = "this program's secret CURVE key"},
    {.name = "curve-server-key",
     .kind = OPTION_STRING,
     .value = &link_config.curve_server_key,
     .argument = "FILE",
     .help = "the public CURVE key of the servers it connects to"},
    {.name = "curve-clients",
     .kind = OPTION_STRING,
     .value = &link_config.curve_clients,
     .argument = "FILE",
     .help = "the public CURVE keys that --listen lets in, one a line"},
    {.name = "run",
     .kind = OPTION_STRING,
     .value = &link_config.run,
     .argument = "ID",
     .help = "take frames of this run alone over tcp:// and ipc://; without: of $SIMCLR_RUN"},
    {0},
};

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
    if (starts(endpoint, "tcp://") || starts(endpoint, "ipc://"))
        return ENDPOINT_SOCKET;
    return ENDPOINT_PATH;
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

/* The numbers 127.x.y.z, and not the name of a machine that begins so. */
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
