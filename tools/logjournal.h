/* Modules' lines in the journal, by libsystemd: those of several modules come merged, in the journal's order.
 *
 * A module is the identifier of its stream (SYSLOG_IDENTIFIER), and any program may call itself the same. What is not
 * from the instance's own units is therefore passed over: journald notes the unit of who wrote a line, and that is the
 * scope of the modules. A line whose writer had ended before journald looked has no unit, and is taken. */
#pragma once

#include "base/error.h"

typedef struct LogJournal LogJournal;

typedef struct LogEntry {
    uint64_t time;    /* wall clock µs */
    char *module;     /* owned by the journal, until the next call; so is text */
    const char *text; /* n bytes, whatever they are */
    size_t n;
    int priority; /* 0 to 7; -1 = unknown */
} LogEntry;

/* Of the modules `identifiers`, all or (errors_only) those of priority err and worse. -EACCES when there is a journal
 * that the caller may not read, with what would help; -ENOENT when there is none. */
int log_journal_open(const char *instance, char *const *identifiers, bool errors_only, LogJournal **ret, Error *e);
LogJournal *log_journal_close(LogJournal *j);
static inline void log_journal_closep(LogJournal **j)
{
    *j = log_journal_close(*j);
}

/* Before the first entry at or after `since` (wall clock µs, 0 = the oldest); `lines` entries before the end of those
 * (or before `until`) unless it is UINT64_MAX. Negative errno. */
int log_journal_seek(LogJournal *j, uint64_t since, uint64_t until, uint64_t lines);
/* 1 and the next entry, 0 at the end for now, negative errno. */
int log_journal_next(LogJournal *j, LogEntry *ret);

/* To poll for POLLIN when log_journal_next() has said 0; log_journal_woken() must follow each poll. */
int log_journal_fd(LogJournal *j);
void log_journal_woken(LogJournal *j);
