/* See top_screen.h. */
#include "tools/top_screen.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

static SCREEN *screen;

int screen_open(bool colours)
{
    (void)setlocale(LC_CTYPE, "");
    if (str_equal(getenv("TERM"), "dumb") || !(screen = newterm(NULL, stdout, stdin)))
        return -ENOTSUP;
    (void)cbreak();
    (void)noecho();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)curs_set(0);
    (void)set_escdelay(25);
    if (!colours || !has_colors())
        return 0;
    static const short colour_of[COLOUR_N] = {
        [COLOUR_GREEN] = COLOR_GREEN, [COLOUR_YELLOW] = COLOR_YELLOW, [COLOUR_RED] = COLOR_RED};
    (void)start_color();
    (void)use_default_colors();
    for (int i = 1; i < COLOUR_N; i++)
        if (colour_of[i])
            (void)init_pair((short)i, colour_of[i], -1);
    return 0;
}

void screen_close(void)
{
    if (!screen)
        return;
    (void)endwin();
    delscreen(screen);
    screen = NULL;
}

void screen_size(size_t *ret_width, size_t *ret_height)
{
    *ret_width = (size_t)MAX2(getmaxx(stdscr), 1);
    *ret_height = (size_t)MAX2(getmaxy(stdscr), 1);
}

void screen_resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0)
        (void)resizeterm(size.ws_row, size.ws_col);
    (void)clearok(stdscr, TRUE);
}

static attr_t attributes(const TopSpan *s)
{
    attr_t a = s->reverse ? A_REVERSE : A_NORMAL;
    if (s->colour == COLOUR_BOLD)
        a |= A_BOLD;
    else if (s->colour == COLOUR_DIM)
        a |= A_DIM;
    return a;
}

void screen_draw(const TopText *t)
{
    int y = 0;
    (void)erase();
    (void)move(0, 0);
    for (size_t i = 0; i < t->n; i++) {
        const TopSpan *s = &t->spans[i];
        bool pair = s->colour == COLOUR_GREEN || s->colour == COLOUR_YELLOW || s->colour == COLOUR_RED;
        (void)attr_set(attributes(s), pair && has_colors() ? (short)s->colour : 0, NULL);
        (void)addstr(s->text);
        if (s->ends)
            (void)move(++y, 0);
    }
    (void)attr_set(A_NORMAL, 0, NULL);
    (void)refresh();
}

int screen_key(void)
{
    static const struct {
        int curses, key;
    } keys[] = {
        {KEY_UP, TOP_KEY_UP},
        {KEY_DOWN, TOP_KEY_DOWN},
        {KEY_LEFT, TOP_KEY_LEFT},
        {KEY_RIGHT, TOP_KEY_RIGHT},
        {KEY_PPAGE, TOP_KEY_PAGE_UP},
        {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
        {KEY_HOME, TOP_KEY_HOME},
        {KEY_END, TOP_KEY_END},
        {KEY_ENTER, TOP_KEY_ENTER},
        {'\n', TOP_KEY_ENTER},
        {'\r', TOP_KEY_ENTER},
        {27, TOP_KEY_ESCAPE},
        {KEY_BACKSPACE, TOP_KEY_BACKSPACE},
        {'\b', TOP_KEY_BACKSPACE},
        {0x7f, TOP_KEY_BACKSPACE},
    };
    int c = getch();
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (keys[i].curses == c)
            return keys[i].key;
    /* What else curses has a name for is none of ours, but it was a key. */
    return c == ERR ? 0 : c < TOP_KEY_UP && c < KEY_MIN ? c : KEY_MAX + 0x1000;
}
