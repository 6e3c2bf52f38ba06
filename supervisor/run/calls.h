/* The call sites of [work] track = calls:…, usdt:…: from the words of the policy to probes in the program's file. */
#pragma once

#include "supervisor/run/module.h"

/* Before each launch, so that a program that was replaced is found anew. 0 also where there is nothing to do; *e names
 * the line of the ini file and what is wrong. */
int calls_attach(const Module *m, Error *e);
/* Puts the line that asks for what cannot be tracked before the words. */
void calls_name_line(const Module *m, Error *e);
