/* Who may call what: pure decisions, and the one reader of a socket's credentials.
 *
 * A right is a level; a higher one includes the lower. Members that are not in the table need ACCESS_ADMIN, so that a
 * method somebody adds and forgets here is root's alone. The interface a caller names does not count: D-Bus lets it be
 * left out. */
#pragma once

#include <sys/socket.h>

#include "base/util.h"

typedef enum Access { ACCESS_NONE, ACCESS_READ, ACCESS_OPERATE, ACCESS_ADMIN } Access;

/* The level a method call to `member` needs. NULL needs ACCESS_ADMIN. */
Access access_needed(const char *member);
/* What uid with these groups may; (gid_t)-1 is no group and gives nothing to nobody. */
Access access_level(uid_t uid, const gid_t *groups, size_t n_groups, gid_t read_gid, gid_t operate_gid);
/* The same for the peer of a connected unix socket, by SO_PEERCRED and SO_PEERGROUPS: the credentials it had when it
 * connected. ACCESS_NONE when they cannot be read. *ret_peer is always filled (uid and gid -1, pid 0 when unknown). */
Access access_of_socket(int fd, gid_t read_gid, gid_t operate_gid, struct ucred *ret_peer);
