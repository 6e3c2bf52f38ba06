/* usage: envdump FILE [WORD…]. Writes as JSON what it was born with: argv, env, cwd, umask, ids, groups, capabilities,
 * no_new_privs, seccomp mode, rlimits, nice, oom_score_adj, open descriptors, cgroups. Then rests. */
#include <dirent.h>
#include <sys/resource.h>

#include "tests/helpers/helper.h"

static FILE *out;

static void string(const char *s)
{
    fputc('"', out);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\' || (unsigned char)*s < 0x20)
            fprintf(out, "\\u%04x", (unsigned char)*s);
        else
            fputc(*s, out);
    }
    fputc('"', out);
}

static void strings(const char *key, char **v)
{
    fprintf(out, ",\"%s\":[", key);
    for (int i = 0; v[i]; i++) {
        if (i)
            fputc(',', out);
        string(v[i]);
    }
    fputc(']', out);
}

/* The fields of /proc/self/status that matter, as strings. */
static void status(void)
{
    static const char *const wanted[] = {"CapInh",     "CapPrm",  "CapEff", "CapBnd", "CapAmb",
                                         "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn"};
    FILE *f = fopen("/proc/self/status", "re");
    char line[4096];
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            size_t n = strlen(wanted[i]);
            if (strncmp(line, wanted[i], n) == 0 && line[n] == ':') {
                fprintf(out, ",\"%s\":", wanted[i]);
                string(line + n + 1 + strspn(line + n + 1, " \t"));
            }
        }
    }
    if (f)
        fclose(f);
}

static void descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    const char *comma = "";
    fprintf(out, ",\"fds\":{");
    for (struct dirent *e; d && (e = readdir(d));) {
        char to[512];
        ssize_t n = e->d_name[0] == '.' ? -1 : readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);
        if (n < 0 || number(e->d_name) == dirfd(d) || number(e->d_name) == fileno(out))
            continue;
        to[n] = '\0';
        fprintf(out, "%s\"%s\":", comma, e->d_name);
        string(to);
        comma = ",";
    }
    if (d)
        closedir(d);
    fputc('}', out);
}

static void ids(void)
{
    uid_t r, e, s;
    gid_t gr, ge, gs, groups[256];
    getresuid(&r, &e, &s);
    getresgid(&gr, &ge, &gs);
    fprintf(out, ",\"uids\":[%u,%u,%u],\"gids\":[%u,%u,%u],\"groups\":[", r, e, s, gr, ge, gs);
    int n = getgroups(256, groups);
    for (int i = 0; i < n; i++)
        fprintf(out, "%s%u", i ? "," : "", groups[i]);
    fputc(']', out);
}

static void rlimits(void)
{
    fprintf(out, ",\"rlimits\":[");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit l;
        getrlimit((__rlimit_resource_t)i, &l);
        fprintf(out, "%s[%lld,%lld]", i ? "," : "", (long long)l.rlim_cur, (long long)l.rlim_max);
    }
    fputc(']', out);
}

static void text_file(const char *key, const char *path)
{
    char text[4096] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    fprintf(out, ",\"%s\":", key);
    string(text);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv, char **environ_)
{
    mode_t mask = umask(022);
    out = argc > 1 ? fopen(argv[1], "we") : NULL;
    if (!out) {
        perror("envdump");
        return 1;
    }
    char cwd[4096] = "";
    if (!getcwd(cwd, sizeof cwd))
        perror("getcwd");
    fprintf(out, "{\"pid\":%d,\"umask\":%u,\"nice\":%d,\"sid\":%d,\"pgid\":%d,\"cwd\":", getpid(), (unsigned)mask,
            getpriority(PRIO_PROCESS, 0), getsid(0), getpgrp());
    string(cwd);
    strings("argv", argv);
    strings("env", environ_);
    ids();
    rlimits();
    status();
    descriptors();
    text_file("oom_score_adj", "/proc/self/oom_score_adj");
    text_file("cgroup", "/proc/self/cgroup");
    fprintf(out, "}\n");
    fclose(out);
    mark("dumped", " ");
    rest();
}
