/* Fuzzes files of CURVE keys, which the real sockets read. Their address is one that cannot be
 * used. */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "input.h"
#include "link/link.h"
#include "link/server.h"
#include "program/link_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size};
    const uint8_t mode = input_byte(&rest);
    const int fd = input_file(rest);
    fchmod(fd, mode % 2 ? 0600 : 0644);
    link_options.curve_key = link_options.curve_server_key = input_path(fd);
    if (mode / 2 % 2) {
        server_options.listen = "tcp://127.0.0.1:nowhere";
        assert(!server_open(&server_options));
    } else
        assert(!link_open("tcp://127.0.0.1:nowhere", &link_options));
    /* No text contains a 0, so no key does. */
    assert(!rest.size || !memchr(rest.bytes, 0, rest.size) || strstr(fail_message(), "key"));
    close(fd);
    return 0;
}
