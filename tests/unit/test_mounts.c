/* Which mounts can hold up who touches them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/fd.h"
#include "supervisor/run/mounts.h"

#define ROOT "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool may_hang;
    } cases[] = {
        {"", false},
        {ROOT, false},
        {ROOT "30 22 0:27 / /mnt/a rw - nfs4 server:/x rw\n", true},
        {ROOT "30 22 0:27 / /mnt/a rw - nfs server:/x rw", true},
        {ROOT "30 22 0:27 / /mnt/a rw - nfsd nfsd rw\n", false},
        {ROOT "30 22 0:27 / /mnt/a rw - fuse.sshfs u@h:/ rw\n", true},
        {ROOT "30 22 0:27 / /mnt/a rw - fuse x rw\n", true},
        {ROOT "30 22 0:27 / /sys/fs/fuse/connections rw - fusectl fusectl rw\n", false},
        {ROOT "30 22 0:27 / /mnt/a rw - cifs //h/s rw\n" ROOT, true},
        {ROOT "30 22 0:27 / /mnt/nfs4 rw - ext4 /dev/nfs4 rw\n", false},
        {"garbage without a dash\n" ROOT, false},
        {"30 22 0:27 / /x rw -\n" ROOT "31 22 0:28 / /y rw - 9p tag rw\n", true},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_int_equal(mountinfo_may_hang(cases[i].text), cases[i].may_hang);
}

static void test_own_table_is_read_once(void **state)
{
    (void)state;
    Mounts m = {.fd = -EBADF};
    bool first = mounts_may_hang(&m);
    assert_true(m.fd >= 0);
    m.may_hang = !first; /* what is remembered is what is told while nothing changes */
    assert_int_equal(mounts_may_hang(&m), !first);
    fd_close(m.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_own_table_is_read_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
