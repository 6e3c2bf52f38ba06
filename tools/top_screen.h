/* The terminal of `bulkhead top`: the only user of ncurses. One screen at a time; nothing else may write to standard
 * output or standard error between open and close. */
#pragma once

#include "tools/top.h"

/* -ENOTSUP: this terminal ($TERM) can't show one. */
int screen_open(bool colours);
/* Gives the terminal back as it was; nothing happens when none is open. */
void screen_close(void);
void screen_size(size_t *ret_width, size_t *ret_height);
/* After SIGWINCH. */
void screen_resize(void);
void screen_draw(const TopText *t);
/* The next key that has been typed, as top_key() takes it; 0 = none. */
int screen_key(void);
