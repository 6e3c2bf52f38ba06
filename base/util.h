/* Small things every room needs: cleanup attributes, array sizes, allocation that cannot fail.
 *
 * Allocation: a supervisor that runs out of memory can't decide anything sensible, and Linux overcommits, so a failed
 * malloc aborts with one line instead of spreading untestable error paths. Kernel-facing sizes are bounded by callers.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_       __attribute__((unused))

#define ELEMENTS(a)    (sizeof(a) / sizeof((a)[0]))

/* Moves ownership out of a variable that a cleanup attribute watches. */
#define TAKE_PTR(p)                    \
    ({                                 \
        __typeof__(p) take_ptr_ = (p); \
        (p) = NULL;                    \
        take_ptr_;                     \
    })

#define MIN2(a, b)                         \
    ({                                     \
        __typeof__(a) min_a_ = (a);        \
        __typeof__(b) min_b_ = (b);        \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })

#define MAX2(a, b)                         \
    ({                                     \
        __typeof__(a) max_a_ = (a);        \
        __typeof__(b) max_b_ = (b);        \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })

/* Zeroed memory for n elements of size; never NULL. */
void *xcalloc(size_t n, size_t size);
/* realloc for n elements of size, overflow checked; never NULL. */
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
char *xvasprintf(const char *fmt, va_list ap) _printf_(1, 0);

#define new0(type)          ((type *)xcalloc(1, sizeof(type)))
#define new0_array(type, n) ((type *)xcalloc((n), sizeof(type)))

/* Grows `array` (of *`n` elements) by one zeroed element and yields a pointer to it. Doubles at powers of two, so the
 * count alone tells the capacity. */
#define ARRAY_PUSH(array, n)                                                       \
    (*({                                                                           \
        if (((n) & ((n)-1)) == 0)                                                  \
            (array) = xrealloc((array), (n) ? (size_t)(n)*2 : 1, sizeof *(array)); \
        memset(&(array)[(n)], 0, sizeof *(array));                                 \
        &(array)[(n)++];                                                           \
    }))

static inline void freep(void *p)
{
    free(*(void **)p);
}
