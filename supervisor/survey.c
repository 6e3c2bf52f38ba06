/* See survey.h. */
#include "supervisor/survey.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "supervisor/ground.h"
#include "supervisor/probe.h"

typedef struct Survey {
    Features *features;
    const char *btf_path, *bpffs_path, *instance;
} Survey;

static void probe_programs(void *userdata, int cgroup)
{
    const Survey *s = userdata;
    probe_kernel(s->features, s->btf_path, s->bpffs_path, s->instance, cgroup);
}

static void probe_as_root(Features *f, const char *btf_path, const char *bpffs_path)
{
    char instance[48];
    snprintf(instance, sizeof instance, "features-%d", (int)getpid());
    /* What is made is taken away again, also when somebody presses ^C. */
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, &before);
    Survey survey = {.features = f, .btf_path = btf_path, .bpffs_path = bpffs_path, .instance = instance};
    ground_survey(instance, f, probe_programs, &survey);
    probe_view(f);
    (void)rmdir("/run/bulkhead"); /* only where no instance is */
    sigprocmask(SIG_SETMASK, &before, NULL);
}

int survey_print(Features *f, const char *btf_path, const char *bpffs_path)
{
    probe_calls(f);
    probe_tell_rooms(f);
    if (geteuid() == 0)
        probe_as_root(f, btf_path, bpffs_path);
    else
        features_mark_unknown(f, "only root can try it");
    json_t *table = features_json(f);
    json_dumpf(table, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(table);
    return features_suffice(f) ? 0 : 1;
}
