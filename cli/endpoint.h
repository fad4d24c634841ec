/* Where a node's admin port is, and the token for it. */
#ifndef NM_CLI_ENDPOINT_H
#define NM_CLI_ENDPOINT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "cli/cli.h"

struct endpoint {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    bool local;      /* a unix socket or a loopback address: its processes are of this machine */
    char host[80];   /* for the Host header: an address, or localhost */
    char shown[160]; /* for messages */
    char name[64];   /* of the node's directory, perhaps cut; "" when the endpoint is none */
    char token[65];
};

/* From --endpoint, NET_MESH_ENDPOINT or the profile: DIR (address of its node.yaml, token of its admin.token),
 * http://HOST:PORT, A:P or unix:PATH (token of the file NET_MESH_TOKEN_FILE or the profile names; the profile's goes to
 * no other endpoint than the profile's, if that names one). CLI_OK, or the exit code of an error that was said. */
int endpoint_resolve(const struct cli_args *, struct endpoint *);
void endpoint_wipe(struct endpoint *);

/* config_error to exit code for a node's directory and its secrets; says the error. */
struct config_error;
int endpoint_secret_error(int err, const struct config_error *);
/* "A:P" or "unix:PATH" of the admin port of DIR, as the node itself shows it. `room` bytes; false: does not fit. */
struct config;
bool endpoint_format_admin(const struct config *, const char *dir, char *out, size_t room);

#endif
