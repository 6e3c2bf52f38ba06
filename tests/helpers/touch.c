/* usage: touch WHAT [EXITCODE]. For exec_start_pre and exec_stop_post: marks WHAT with the exit status and signal of
 * the module as it was told (environment EXIT_CODE and EXIT_STATUS, "-" when absent), and ends with EXITCODE. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    const char *code = getenv("EXIT_CODE"), *status = getenv("EXIT_STATUS");
    mark(argument(argc, argv, 1, "touch"), "%s %s", code ? code : "-", status ? status : "-");
    return number(argument(argc, argv, 2, "0"));
}
