/* See access.h. Everything that cannot be told counts as refused. */
#include "supervisor/control/access.h"

#include <errno.h>

typedef struct Need {
    const char *member;
    Access access;
} Need;

static const Need needs[] = {
    /* org.freedesktop.DBus and the standard interfaces of every object */
    {"Hello", ACCESS_READ},
    {"AddMatch", ACCESS_READ},
    {"RemoveMatch", ACCESS_READ},
    {"ListNames", ACCESS_READ},
    {"ListActivatableNames", ACCESS_READ},
    {"NameHasOwner", ACCESS_READ},
    {"GetNameOwner", ACCESS_READ},
    {"GetId", ACCESS_READ},
    {"Ping", ACCESS_READ},
    {"GetMachineId", ACCESS_READ},
    {"Introspect", ACCESS_READ},
    {"Get", ACCESS_READ},
    {"GetAll", ACCESS_READ},
    /* org.bulkhead1.Manager */
    {"ListModules", ACCESS_READ},
    {"GetStatus", ACCESS_READ},
    {"Explain", ACCESS_READ},
    {"GetNames", ACCESS_READ},
    {"GetUsage", ACCESS_READ},
    {"GetPlan", ACCESS_READ},
    {"GetPlanText", ACCESS_READ},
    {"GetGraph", ACCESS_READ},
    {"GetEvents", ACCESS_READ},
    {"OpenLog", ACCESS_READ},
    {"OpenLogFile", ACCESS_READ},
    {"StartModule", ACCESS_OPERATE},
    {"StopModule", ACCESS_OPERATE},
    {"RestartModule", ACCESS_OPERATE},
    {"ReloadModule", ACCESS_OPERATE},
    {"DrainModule", ACCESS_OPERATE},
    {"ScaleModule", ACCESS_OPERATE},
    /* org.bulkhead1.Module */
    {"Start", ACCESS_OPERATE},
    {"Stop", ACCESS_OPERATE},
    {"Restart", ACCESS_OPERATE},
};

Access access_needed(const char *member)
{
    for (size_t i = 0; member && i < ELEMENTS(needs); i++)
        if (strcmp(needs[i].member, member) == 0)
            return needs[i].access;
    return ACCESS_ADMIN;
}

Access access_level(uid_t uid, const gid_t *groups, size_t n_groups, gid_t read_gid, gid_t operate_gid)
{
    if (uid == 0)
        return ACCESS_ADMIN;
    Access best = ACCESS_NONE;
    for (size_t i = 0; i < n_groups; i++) {
        if (groups[i] == (gid_t)-1)
            continue;
        if (groups[i] == operate_gid)
            return ACCESS_OPERATE;
        if (groups[i] == read_gid)
            best = ACCESS_READ;
    }
    return best;
}

Access access_of_socket(int fd, gid_t read_gid, gid_t operate_gid, struct ucred *ret_peer)
{
    *ret_peer = (struct ucred){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || size != sizeof peer)
        return ACCESS_NONE;
    *ret_peer = peer;
    if (peer.uid == 0)
        return ACCESS_ADMIN;

    /* SO_PEERGROUPS gives the supplementary groups alone; the primary one is put behind them. A process may have 65536
     * groups; ERANGE tells how much room they want. */
    _cleanup_(freep) gid_t *groups = NULL;
    size = 32 * sizeof(gid_t);
    for (int tries = 0; tries < 2; tries++) {
        groups = xrealloc(groups, size / sizeof(gid_t) + 1, sizeof(gid_t));
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
            size_t n = size / sizeof(gid_t);
            groups[n++] = peer.gid;
            return access_level(peer.uid, groups, n, read_gid, operate_gid);
        }
        if (errno != ERANGE)
            return ACCESS_NONE;
    }
    return ACCESS_NONE;
}
