/*  tap_line.h - one message of bus.tap as a line for people or as a JSON object.
 *  Thread: any.   Ownership: the record is borrowed. */
#ifndef CLI_TAP_LINE_H
#define CLI_TAP_LINE_H

#include "message.h"

/* {"ts":..,"from":..,"to":..,"kind":..,"method":..,"id":..,"trace_id":..,"status":..,"bytes":..,
 *  "queue_us":..,"service_us":..}: always these keys in this order; ids as hex digits; null for
 * what a message does not have. */
void tap_json(const bus_record *r, buf *out);
/* 12:00:01.123456 edge/1 -> router/1  REQUEST router.complete  0197..3f2a  412 B */
void tap_human(const bus_record *r, bool colour, buf *out);

#endif
