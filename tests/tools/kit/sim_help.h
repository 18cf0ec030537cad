/*  sim_help.h - the page of help of the provider simulator: paths, keys, faults, control.
 *  Thread: any.   Ownership: none.   Errors: none. */
#ifndef KIT_SIM_HELP_H
#define KIT_SIM_HELP_H

void sim_print_help(void);

#endif
